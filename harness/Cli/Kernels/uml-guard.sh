#!/bin/bash
# Runs a user-mode Linux kernel so that nothing of it outlives its launcher, and nothing of ours is changed by it.
#
#   uml-guard.sh ALIVE_FD RUN_FOLDER CPU LINUX ARGUMENT...
#
# Standard input and output are the guest's serial line; the launcher holds the other end of ALIVE_FD.
# However one of the processes ends, the rest follows:
#   launcher      ALIVE_FD reads end-of-file, and the watcher below kills the kernel;
#   this script   the parent-death signal kills unshare, and unshare's --kill-child the kernel;
#   the kernel    is process 1 of a PID namespace: its user processes, which are host processes, die with it.
# The kernel sees this machine's files through a mount namespace in which all but the run's folder is read-only:
# whatever root in the guest mounts, it changes nothing else here.
set -u

if [ "$1" = --confined ]; then # in the new namespaces: RUN_FOLDER LINUX ARGUMENT...
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

alive=$1 folder=$2 cpu=$3 linux=$4
shift 4
trap '' INT TERM HUP
cd "$folder" || exit 1
exec 3<&0 4>&1 </dev/null >/dev/null # a background job would find /dev/null as its standard input

user=()
[ "$(id -u)" = 0 ] || user=(--user --map-current-user --keep-caps)
namespace=(unshare "${user[@]}" --mount --pid --fork --kill-child)
confined=("$BASH" "$0" --confined "$folder")
if ! "${namespace[@]}" true 2>/dev/null; then # a machine that forbids namespaces to users
    namespace=() confined=()
fi

# One processor: the kernel and its user processes take turns by ptrace, and waking another processor for each turn
# makes everything three to four times slower.
taskset --cpu-list "$cpu" setpriv --pdeathsig KILL "${namespace[@]}" "${confined[@]}" \
    "$linux" ssl=null ssl0=fd:3,fd:4 "$@" >console.log 2>&1 &
kernel=$!
exec 3<&- 4>&-
( read -r -u "$alive" _; kill -KILL "$kernel" ) 2>/dev/null &
watcher=$!
wait "$kernel"
kill -KILL "$watcher" 2>/dev/null
rm -rf uml
