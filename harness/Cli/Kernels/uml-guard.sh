#!/bin/bash
# Runs a user-mode Linux kernel so that nothing of it outlives its launcher.
#
#   uml-guard.sh ALIVE_FD RUN_FOLDER CPU LINUX ARGUMENT...
#
# Standard input and output are the guest's serial line; the launcher holds the other end of ALIVE_FD.
# However one of the processes ends, the rest follows:
#   launcher      ALIVE_FD reads end-of-file, and the watcher below kills the kernel;
#   this script   the parent-death signal kills unshare, and unshare's --kill-child the kernel;
#   the kernel    is process 1 of a PID namespace: its user processes, which are host processes, die with it.
set -u
alive=$1 folder=$2 cpu=$3 linux=$4
shift 4
trap '' INT TERM HUP
cd "$folder" || exit 1
exec 3<&0 4>&1 </dev/null >/dev/null # a background job would find /dev/null as its standard input

namespace=(unshare --pid --fork --kill-child)
if [ "$(id -u)" != 0 ]; then
    namespace=(unshare --user --map-current-user --pid --fork --kill-child)
    "${namespace[@]}" true 2>/dev/null || namespace=()
fi

# One processor: the kernel and its user processes take turns by ptrace, and waking another processor for each turn
# makes everything three to four times slower.
taskset --cpu-list "$cpu" setpriv --pdeathsig KILL "${namespace[@]}" "$linux" ssl=null ssl0=fd:3,fd:4 "$@" >console.log 2>&1 &
kernel=$!
exec 3<&- 4>&-
( read -r -u "$alive" _; kill -KILL "$kernel" ) 2>/dev/null &
watcher=$!
wait "$kernel"
kill -KILL "$watcher" 2>/dev/null
rm -rf uml
