#!/bin/busybox sh
# shellcheck shell=dash
# The first process of a kernel under QEMU: loads the modules of the RAM disk, mounts this machine's files, and becomes guest-init.pl.
#
# The arguments of guest-init.pl, with its path, are behind " -- " in the kernel's command line. The kernel's own idea of a first
# process's arguments has its unknown parameters in front.
/bin/busybox mount -t proc proc /proc
arguments=$(/bin/busybox sed 's/.* -- //' /proc/cmdline)
for module in /modules/*.ko; do
    /bin/busybox insmod "$module" || echo "qemu-init: $module cannot be loaded"
done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose root /root || {
    echo 'qemu-init: panic: this machine cannot be seen by 9p'
    /bin/busybox poweroff -f
}
/bin/busybox umount /proc
# shellcheck disable=SC2086
exec /bin/busybox switch_root /root /usr/bin/perl $arguments # split at spaces; GuestKernel refuses a path with one
