#!/usr/bin/env bash
# Builds the image here and in a Debian 13, there as an ordinary user, and compares every byte of what
# comes out. The Debian 13 is made once, of its archive's packages, and kept in target/.
# usage: image/other-host.sh IMAGE-PROGRAM WORK-DIRECTORY
set -euo pipefail
image=$(realpath "$1") work=$2
host=target/debian-13
user=12345

if [ "$(id -u)" != 0 ]; then
    echo "not root: not built on another Debian"
    exit 0
fi
if [ ! -e "$host/complete" ]; then
    rm -rf "$host"
    mmdebstrap --quiet --variant=minbase trixie "$host"
    touch "$host/complete"
fi
rm -rf "$work"
mkdir -p "$work"/{here,there}
trap 'rm -rf "$work"' EXIT
# Neither takes what the other has unpacked, nor anything from the network.
for side in here there; do
    mkdir -p "$work/$side/cache/debs"
    sed -n 's/^sha256 = "\(.*\)"/\1/p' image/coreos.lock | while read -r sha256; do
        cp -l "target/packages/debs/$sha256.deb" "$work/$side/cache/debs/" || {
            echo "run \`image build\` first, which fetches the packages" >&2
            exit 1
        }
    done
done

here=$(. /etc/os-release && echo "$PRETTY_NAME")
echo "building on $here"
"$image" build --cache "$work/here/cache" --output "$work/here/out" >/dev/null 2>"$work/log" || {
    tail -5 "$work/log" >&2
    exit 1
}

# The project at another path and read-only, the output and the cache the user's own.
mkdir -p "$host"/{project,programs,space}
chown -R "$user:$user" "$work/there"
echo "building on $(. "$host/etc/os-release" && echo "$PRETTY_NAME"), as user $user"
unshare --mount --propagation private --pid --fork --net sh -eu -c '
    root=$1 project=$2 programs=$3 space=$4 user=$5
    mount --bind "$root" "$root"
    mount --bind -o ro "$project" "$root/project"
    mount --bind -o ro "$programs" "$root/programs"
    mount --bind "$space" "$root/space"
    mount -t proc proc "$root/proc"
    mount --bind /dev/null "$root/dev/null"
    mount -t tmpfs tmpfs "$root/tmp"
    cd "$root"
    pivot_root . .
    umount -l .
    cd /project
    umask 077
    exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \
        env -i PATH=/usr/bin TZ=Asia/Tokyo LC_ALL=C /programs/image build --cache /space/cache --output /space/out
' sh "$PWD/$host" "$PWD" "$(dirname "$image")" "$PWD/$work/there" "$user" >/dev/null 2>"$work/log" || {
    tail -5 "$work/log" >&2
    exit 1
}

# The stamp says of what was built where, and when.
names() { # DIRECTORY
    (cd "$1" && find . -type f ! -name stamp.json ! -path './.*/*' | sort)
}
diff <(names "$work/here/out") <(names "$work/there/out")
different=0
for name in $(names "$work/here/out"); do
    cmp "$work/here/out/$name" "$work/there/out/$name" || different=1
done
if [ "$different" = 1 ]; then
    echo "what is built differs between the two" >&2
    exit 1
fi
echo "identical: $(names "$work/here/out" | wc -l) files"
