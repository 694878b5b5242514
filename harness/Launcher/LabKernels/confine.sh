#!/bin/bash
# Starts a lab kernel, user-mode Linux or QEMU, that can change nothing here but its run's folder.
#
#   confine.sh FOLDER CPU PROGRAM ARGUMENT...
#
# Standard input and output are the guest's line, and become the program's file descriptors 3 and 4: what it prints itself is no part
# of the line. FOLDER is where its console goes; the one above is the run's.
# It sees this machine's files through a mount namespace in which all but the run's folder is read-only, with a
# /proc of its own PID namespace: whatever root in the guest mounts, it changes nothing else here. In that PID namespace
# the kernel is process 1, so that its user processes, which are processes of this machine, die with it.
set -u

if [ "$1" = --confined ]; then # in the new namespaces: FOLDER PROGRAM ARGUMENT...
    folder=$2 run=$(dirname "$2")
    shift 2
    confine() { "$@" || { echo "confine.sh: cannot confine the kernel: '$*' failed"; exit 1; }; }
    confine mount --bind "$run" "$run"
    # The machine's own /proc would lead to the files of its processes by /proc/PID/root, and to its sysctls. Where a container
    # masks parts of it, the kernel allows no new one: then there is none, which costs the guest nothing.
    mount -t proc -o nosuid,nodev,noexec proc /proc 2>/dev/null || confine mount -t tmpfs tmpfs /proc
    export TMPDIR=/dev/shm # the guest's memory: a tmpfs of its own, which is gone with the namespace
    confine mount -t tmpfs -o mode=1777 tmpfs "$TMPDIR"
    # mount_setattr(2): all mounts at once, whatever their names; then the two exceptions.
    # shellcheck disable=SC2016 # the variables are Perl's
    confine perl -e '
        sub attributes {
            my ($path, $flags, $set, $clear) = @_;
            syscall(442, -100, $path, $flags, my $attributes = pack("Q4", $set, $clear, 0, 0), 32) == 0 or die "mount_setattr $path: $!\n";
        }
        attributes("/", 0x8000, 1, 0);    # AT_RECURSIVE, MOUNT_ATTR_RDONLY
        attributes($_, 0, 2 | 4, 1) for @ARGV;    # MOUNT_ATTR_NOSUID, NODEV' "$run" "$TMPDIR"
    cd "$folder" || exit 1 # again: the old one is on the read-only mount
    # What is left of root are its rights on files, so that the guest may read what root may read.
    exec setpriv --no-new-privs --ambient-caps -all --inh-caps -all \
        --bounding-set -all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid -- "$@"
fi

folder=$1 cpu=$2
shift 2
cd "$folder" || exit 1
exec 3<&0 4>&1 </dev/null >>console.log 2>&1

user=()
[ "$(id -u)" = 0 ] || user=(--user --map-current-user --keep-caps)
namespace=(unshare "${user[@]}" --mount --pid --fork --kill-child)
confined=("$BASH" "$0" --confined "$folder")
if ! "${namespace[@]}" true 2>/dev/null; then # a machine that forbids namespaces to users
    namespace=() confined=()
fi

# One processor: user-mode Linux and its user processes take turns by ptrace, and waking another processor for each turn makes
# everything three to four times slower. QEMU without KVM uses one anyway.
exec taskset --cpu-list "$cpu" "${namespace[@]}" "${confined[@]}" "$@"
