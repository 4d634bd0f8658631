#!/usr/bin/env bash
# mkosi beside the image builder: the packages that image/coreos.lock names, as an EROFS root with
# verity, a UKI and a GPT disk; a full build, and one after one file changed.
# usage: image/bench-mkosi.sh WORK-DIRECTORY, from image/bench.sh, whose `measure` it uses
#
# mkosi runs in the Debian that its version is of, which is kept in target/ for the next time. A
# first run fetches its packages and fills its caches; the measured ones ask no network.
set -euo pipefail
work=$1
peer=target/bench-mkosi-trixie

# Runs a command in that Debian, in namespaces of its own.
inside() { # COMMAND…
    unshare --mount --propagation private --pid --fork sh -eu -c '
        root=$1; shift
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        mount -t tmpfs tmpfs "$root/run"
        cd "$root"
        pivot_root . .
        umount -l .
        cd /bench
        exec "$@"' sh "$PWD/$peer" "$@"
}

not_compared() { # WHY
    echo "$1: not compared with mkosi"
    exit 0
}

[ "$(id -u)" = 0 ] || not_compared "not root"
if [ ! -e "$peer/complete" ]; then
    rm -rf "$peer"
    tools=mkosi,systemd-repart,systemd-ukify,systemd-boot-efi,systemd-boot-tools,systemd-sysv,erofs-utils
    tools+=,dosfstools,mtools,cpio,zstd,xz-utils,cryptsetup-bin,debian-archive-keyring,ca-certificates,kmod,udev
    if ! mmdebstrap --quiet --variant=minbase --include="$tools" trixie "$peer" >"$work/log" 2>&1; then
        tail -5 "$work/log"
        rm -rf "$peer"
        not_compared "no Debian with mkosi could be made"
    fi
    touch "$peer/complete"
fi
cp /etc/resolv.conf "$peer/etc/resolv.conf"

# What the last run left, but for the packages that it fetched.
rm -rf "$peer"/bench/{mkosi.*,out,cache,space}
mkdir -p "$peer"/bench/{mkosi.repart,mkosi.extra/etc,mkosi.sandbox/etc/apt/sources.list.d,out,packages,cache,space}
# Its own list names an archive of debugging symbols, which mirrors do not have.
for suites in "debian trixie trixie-updates" "debian-security trixie-security"; do
    printf 'Types: deb\nURIs: http://deb.debian.org/%s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' \
        "${suites%% *}" "${suites#* }"
done >"$peer/bench/mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources"
{
    printf '[Distribution]\nDistribution=debian\nRelease=trixie\n'
    printf '[Output]\nFormat=disk\nOutputDirectory=/bench/out\nManifestFormat=json\n'
    printf '[Build]\nBuildSources=\nPackageCacheDirectory=/bench/packages\nCacheDirectory=/bench/cache\nWorkspaceDirectory=/bench/space\n'
    printf '[Content]\nBootable=yes\nBootloader=systemd-boot\nPackages=\n'
    sed -n 's/^asked = \[\(.*\)\]/\1/p' image/coreos.lock | tr -d '" ' | tr ',' '\n' | sed 's/^/    /'
} >"$peer/bench/mkosi.conf"
printf '[Partition]\nType=esp\nFormat=vfat\nCopyFiles=/efi:/\nCopyFiles=/boot:/\nSizeMinBytes=256M\nSizeMaxBytes=256M\n' \
    >"$peer/bench/mkosi.repart/00-esp.conf"
printf '[Partition]\nType=root\nFormat=erofs\nCopyFiles=/\nVerity=data\nVerityMatchKey=root\nMinimize=best\n' \
    >"$peer/bench/mkosi.repart/10-root.conf"
printf '[Partition]\nType=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n' \
    >"$peer/bench/mkosi.repart/20-verity.conf"

export peer
export -f inside
echo one >"$peer/bench/mkosi.extra/etc/changed"
if ! inside mkosi --incremental=yes -ff build >"$work/log" 2>&1; then
    tail -5 "$work/log"
    not_compared "mkosi failed"
fi
version=$(inside mkosi --version)
# Of the lock's packages, those that its image has in the same version.
same=$(sed -n 's/^name = "\(.*\)"/\1/p; s/^version = "\(.*\)"/\1/p' image/coreos.lock | paste -sd' \n' |
    sort | comm -12 - <(tr -d ' \n' <"$peer/bench/out/image.manifest" | tr '{' '\n' |
        sed -n 's/.*"name":"\([^"]*\)".*"version":"\([^"]*\)".*/\1 \2/p' | sort) | wc -l)
echo "$version of Debian 13; $same of $(grep -c '^\[\[package\]\]' image/coreos.lock) packages of the lock are in its image in the same version"

echo two >"$peer/bench/mkosi.extra/etc/changed"
measure "mkosi, one file changed" bash -c 'inside mkosi --cache-only=always --incremental=yes --force build'
measure "mkosi, full" bash -c 'inside mkosi --cache-only=always --force build'
rm -rf "$peer"/bench/{out,cache,space}

ratio() { # NAME OF-IMAGE OF-MKOSI
    local ours theirs
    ours="$work/$(echo "$2" | tr ' ' _)" theirs="$work/$(echo "$3" | tr ' ' _)"
    [ -s "$ours" ] && [ -s "$theirs" ] || return 0
    paste -d' ' "$ours" "$theirs" | awk -v name="$1" \
        '{ printf "mkosi takes %.1f times as long and %.1f times the CPU of %s\n", $3 / $1, $4 / $2, name }'
}
ratio "a full build" "image build, full" "mkosi, full"
ratio "a build after one change" "image build, one file changed" "mkosi, one file changed"
