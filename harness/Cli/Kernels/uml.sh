#!/bin/bash
# Starts a user-mode Linux kernel that can change nothing here but its run's folder.
#
#   uml.sh FOLDER CPU LINUX ARGUMENT...
#
# Standard input and output are the guest's serial line. FOLDER is where its console goes; the one above is the run's.
# The kernel sees this machine's files through a mount namespace in which all but the run's folder is read-only:
# whatever root in the guest mounts, it changes nothing else here. In its PID namespace it is process 1, so that its
# user processes, which are processes of this machine, die with it.
set -u

if [ "$1" = --confined ]; then # in the new namespaces: FOLDER LINUX ARGUMENT...
    run=$(dirname "$2")
    shift 2
    mount --bind "$run" "$run"
    export TMPDIR=/dev/shm # the guest's memory: a tmpfs of its own, which is gone with the namespace
    mount -t tmpfs -o mode=1777 tmpfs "$TMPDIR"
    while read -r _ _ _ _ mountpoint _; do
        case $mountpoint in
            "$run" | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) ;;
            *) mount -o remount,bind,ro "$mountpoint" 2>/dev/null ;;
        esac
    done </proc/self/mountinfo
    cd "$run/kernel" || exit 1 # anew: the old one is on the read-only mount
    exec "$@"
fi

folder=$1 cpu=$2 linux=$3
shift 3
cd "$folder" || exit 1
exec 3<&0 4>&1 </dev/null >console.log 2>&1

user=()
[ "$(id -u)" = 0 ] || user=(--user --map-current-user --keep-caps)
namespace=(unshare "${user[@]}" --mount --pid --fork --kill-child)
confined=("$BASH" "$0" --confined "$folder")
if ! "${namespace[@]}" true 2>/dev/null; then # a machine that forbids namespaces to users
    namespace=() confined=()
fi

# One processor: the kernel and its user processes take turns by ptrace, and waking another processor for each turn
# makes everything three to four times slower.
exec taskset --cpu-list "$cpu" "${namespace[@]}" "${confined[@]}" "$linux" ssl=null ssl0=fd:3,fd:4 "$@"
