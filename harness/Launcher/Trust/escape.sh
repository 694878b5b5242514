#!/bin/sh
# What root of a guest may try to reach the machine that the lab kernel runs on. ./lab kills looks afterwards for files named escaped,
# for mounts, control groups, and other values in /proc/sys/kernel: none may be there.
grep -q hostfs /proc/filesystems || exit 3 # not on user-mode Linux: this would be the machine itself

folders="/ /dev /dev/shm /etc /usr /usr/bin /root /tmp /var/tmp /run $HOME $PWD"
for folder in $folders; do
    touch "$folder/escaped"
done

# The machine's own files, past the overlay.
mkdir -p /mnt
for root in / /proc/1/root /proc/self/root "/proc/$PPID/root"; do
    mount -t hostfs none /mnt -o "$root" || continue
    for folder in $folders; do
        touch "/mnt$folder/escaped"
    done
    echo '|/bin/false' >/mnt/proc/sys/kernel/core_pattern
    echo /bin/false >/mnt/proc/sys/kernel/modprobe
    echo 1 >/mnt/proc/sys/kernel/sysrq
    mkdir /mnt/sys/fs/cgroup/escaped
    ln -s / /mnt/tmp/escaped
    mknod /mnt/var/tmp/escaped b 254 0
    umount /mnt
done

# The root that is there, control groups and namespaces of its own.
mount -o remount,rw / && touch /escaped
mount -t cgroup2 none /mnt && mkdir /mnt/escaped
unshare --mount --pid --fork sh -c 'mount --make-rshared / && mount -t tmpfs none /tmp && touch /tmp/escaped'
nsenter --target 1 --mount --pid -- touch /tmp/escaped
sleep 8
