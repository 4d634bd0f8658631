# In namespaces of its own: unpacks the tar on the standard input, runs the scripts that are in it,
# and packs what they left. $1 is what tar does with owners. The tree is in memory, mounted over the
# one directory that everybody can reach: it goes away with the namespace, whatever ends it.
set -eu
root=/tmp
# What scripts print is no part of the answer.
exec 3>&1 >&2
mount -t tmpfs -o mode=755 tmpfs "$root"
tar --extract --file=- --directory="$root" --numeric-owner --same-permissions "$1"
# Where the host hides parts of its own, as containers do, there is none.
mount -t proc proc "$root/proc" || echo 'there is no /proc for the scripts'
for name in dev run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$name"; done
for name in null zero full random urandom; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
# Without these capabilities there is no way out of the root, and no namespace can be made in it.
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive DPKG_ADMINDIR=/var/lib/dpkg SOURCE_DATE_EPOCH=0 \
    /usr/bin/setpriv --no-new-privs --inh-caps=-all \
    --bounding-set=-all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+kill,+setfcap,+setgid,+setuid \
    /bin/sh /var/lib/dpkg/.scripts/all </dev/null 3>&-
tar --create --file=- --directory="$root" --numeric-owner --one-file-system --format=pax \
    --pax-option=delete=atime,delete=ctime,delete=mtime --mtime=@0 \
    --xattrs --xattrs-include=security.capability . >&3
