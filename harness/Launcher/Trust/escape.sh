#!/bin/sh
# What root of a guest may try to reach the machine that the lab kernel runs on. ./lab kills looks afterwards for files with the name that
# it gives, for mounts, control groups, and other values in /proc/sys/kernel: none may be there. It reads "tried" on standard output.
grep -q hostfs /proc/filesystems || exit 3 # not on user-mode Linux: this would be the machine itself
export name=$1

folders="/ /dev /dev/shm /etc /usr /usr/bin /root /tmp /var/tmp /run $HOME $PWD"
for folder in $folders; do
    touch "$folder/$name"
done

# The machine's own files, past the overlay.
mkdir -p /mnt
for root in / /proc/1/root /proc/self/root "/proc/$PPID/root"; do
    mount -t hostfs none /mnt -o "$root" || continue
    for folder in $folders; do
        touch "/mnt$folder/$name"
    done
    echo "|/bin/$name" >/mnt/proc/sys/kernel/core_pattern
    echo "/bin/$name" >/mnt/proc/sys/kernel/modprobe
    echo 438 >/mnt/proc/sys/kernel/sysrq
    mkdir "/mnt/sys/fs/cgroup/$name"
    ln -s / "/mnt/tmp/$name"
    mknod "/mnt/var/tmp/$name" b 254 0
    umount /mnt
done

# The root that is there, control groups and namespaces of its own.
mount -o remount,rw / && touch "/$name"
mount -t cgroup2 none /mnt && mkdir "/mnt/$name"
unshare --mount --pid --fork sh -c 'mount --make-rshared / && mount -t tmpfs none /tmp && touch "/tmp/$name"'
nsenter --target 1 --mount --pid -- touch "/tmp/$name"
echo tried
sleep 8
