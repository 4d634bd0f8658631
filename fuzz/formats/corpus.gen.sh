#!/bin/sh
# Makes the corpora of the targets here with the formats' own tools: dpkg-deb, tar, mkfs.erofs,
# sgdisk. Run once; what it makes is committed. The first byte of deb, gpt and tar says how the
# target takes the rest.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p corpus/deb corpus/erofs corpus/gpt corpus/tar

mkdir -p "$work/tree/DEBIAN" "$work/tree/usr/bin" "$work/tree/etc" "$work/tree/usr/lib/modules/6"
cd "$work/tree"
printf 'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n more\n' >DEBIAN/control
printf '#!/bin/sh\n' >DEBIAN/postinst
chmod 755 DEBIAN/postinst
echo /etc/x >DEBIAN/conffiles
echo conf >etc/x
echo program >usr/bin/x
ln usr/bin/x usr/bin/hard
ln -s x usr/bin/soft
echo module | xz -0 >usr/lib/modules/6/x.ko.xz
long=usr/$(printf 'long/%.0s' $(seq 22))
mkdir -p "$long"
echo deep >"$long/file"
cd - >/dev/null
first() { # BYTE FILE
    printf "\\$1" | cat - "$2" >"$3"
}
for how in none gzip xz zstd; do
    dpkg-deb --root-owner-group -Z"$how" -b "$work/tree" "$work/x.deb" >/dev/null
    first 000 "$work/x.deb" "corpus/deb/$how"
done
rm -r "$work/tree/DEBIAN"
for format in ustar gnu pax; do
    tar --format="$format" --sort=name --owner=0 --group=0 --mtime=@1 --xattrs -C "$work/tree" \
        -cf "$work/x.tar" . 2>/dev/null || true
    tail -c +1 "$work/x.tar" | head -c 20480 >"$work/y.tar"
    first 000 "$work/y.tar" "corpus/tar/$format"
done
printf '\002Package: x\nVersion: 1\n\377' | cat - "$work/y.tar" >corpus/deb/members

rm -rf "$work/tree/usr/long" "$work/tree/usr/lib"
seq 700 >"$work/tree/usr/numbers"
mkfs.erofs -T0 -U 00000000-0000-4000-8000-000000000000 "$work/plain" "$work/tree" >/dev/null
cp "$work/plain" corpus/erofs/plain
mkfs.erofs -T0 -U 00000000-0000-4000-8000-000000000000 -E force-inode-extended "$work/extended" "$work/tree" >/dev/null
cp "$work/extended" corpus/erofs/extended
mkfs.erofs -T0 -U 00000000-0000-4000-8000-000000000000 -zlz4 "$work/lz4" "$work/tree" >/dev/null
cp "$work/lz4" corpus/erofs/lz4

truncate -s $((100 * 512)) "$work/disk"
sgdisk -a 1 -U 00000000-0000-4000-8000-000000000000 \
    -n 1:34:40 -t 1:ef00 -c 1:ESP -u 1:00000000-0000-4000-8000-000000000001 \
    -n 2:41:66 -t 2:8300 -c 2:state -u 2:00000000-0000-4000-8000-000000000002 "$work/disk" >/dev/null
first 001 "$work/disk" corpus/gpt/whole
dd if=/dev/zero of="$work/disk" bs=512 seek=1 count=1 conv=notrunc 2>/dev/null
first 000 "$work/disk" corpus/gpt/backup
