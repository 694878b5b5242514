#!/bin/busybox sh
# The first process of a kernel under QEMU: loads the modules of the RAM disk, mounts this machine's files, and becomes guest-init.pl.
#
#   qemu-init.sh ARGUMENT...    those of guest-init.pl with its path
/bin/busybox mount -t proc proc /proc
for module in /modules/*.ko; do
    /bin/busybox insmod "$module" || echo "qemu-init: $module cannot be loaded"
done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose root /root || {
    echo 'qemu-init: panic: this machine cannot be seen by 9p'
    /bin/busybox poweroff -f
}
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /usr/bin/perl "$@"
