#!/usr/bin/env bash
# How long the image builder takes, beside the tools that do the same work, from packages that are
# on the disk already. Prints wall seconds, CPU seconds and memory of each, and the ratios.
# usage: image/bench.sh IMAGE-PROGRAM WORK-DIRECTORY
set -euo pipefail
image=$1 work=$2
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

measure() { # NAME COMMAND…
    local name=$1
    shift
    # To a file, so that what the command prints is not taken for the figures.
    if command time -o "$work/time" -f '%e %U %S %M' "$@" >"$work/log" 2>&1; then
        awk -v name="$name" '{ printf "%-44s %7.1f s %7.1f CPU s %6.0f MB\n", name, $1, $2 + $3, $4 / 1024 }' "$work/time"
        awk '{ print $1, $2 + $3 }' "$work/time" >"$work/$(echo "$name" | tr ' ' _)"
    else
        echo "$name failed:"
        tail -5 "$work/log"
    fi
}

# The lock's packages and no others: nothing is fetched while it is measured.
mkdir -p "$work/cache/debs"
sed -n 's/^sha256 = "\(.*\)"/\1/p' image/coreos.lock | while read -r sha256; do
    cp -l "target/packages/debs/$sha256.deb" "$work/cache/debs/" || {
        echo "run \`image build\` first, which fetches the packages" >&2
        exit 1
    }
done
measure "image build, full" "$image" build --cache "$work/cache" --output "$work/out"
# One file more in the overlay, as after a change to a unit; then again, with the files of two builds
# to write over.
mkdir -p "$work/overlay/etc"
printf 'extends = "%s"\noverlay = ["%s"]\n' "$PWD/image/coreos.toml" "$PWD/$work/overlay" >"$work/changed.toml"
changed() { # NAME OPTION…
    date +%N >"$work/overlay/etc/changed"
    measure "$1" "$image" build --cache "$work/cache" --manifest "$work/changed.toml" \
        --lock image/coreos.lock --output "$work/out" "${@:2}"
}
changed "image build, the first change"
changed "image build, one file changed"
measure "image build, nothing changed" "$image" build --cache "$work/cache" \
    --manifest "$work/changed.toml" --lock image/coreos.lock --output "$work/out"
changed "image build, one file changed, no qcow2" --no-qcow2

if command -v mmdebstrap mkfs.erofs >/dev/null; then
    mkdir "$work/archive"
    cp -l "$work"/cache/debs/*.deb "$work/archive/"
    (cd "$work/archive" && dpkg-scanpackages . 2>/dev/null >Packages)
    # By the name of the suite mmdebstrap finds what is essential.
    printf 'Suite: trixie\nCodename: trixie\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %s %s Packages\n' \
        "$(sha256sum <"$work/archive/Packages" | cut -d' ' -f1)" "$(stat -c %s "$work/archive/Packages")" \
        >"$work/archive/Release"
    names=$(sed -n 's/^asked = \[\(.*\)\]/\1/p' image/coreos.lock | tr -d '" ')
    peer() {
        set -e
        mmdebstrap --variant=essential --include="$names" --aptopt='APT::Install-Recommends "false"' \
            --dpkgopt=force-unsafe-io trixie "$work/root.tar" "deb [trusted=yes] copy:$PWD/$work/archive ./"
        mkdir "$work/root"
        tar -xf "$work/root.tar" -C "$work/root"
        mkfs.erofs "$work/root.erofs" "$work/root"
    }
    export -f peer
    export work names
    measure "mmdebstrap and mkfs.erofs" bash -c peer
    [ ! -s "$work/mmdebstrap_and_mkfs.erofs" ] || paste -d' ' "$work/image_build,_full" "$work/mmdebstrap_and_mkfs.erofs" |
        awk '{ printf "mmdebstrap and mkfs.erofs take %.1f times as long and %.1f times the CPU of a full build, without disk, UKI and verity\n", $3 / $1, $4 / $2 }'
fi

export -f measure
image/bench-mkosi.sh "$work"
