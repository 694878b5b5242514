#!/bin/bash
# Runs a command so that it does not outlive its launcher.
#
#   guard.sh ALIVE_FD TEMPORARY COMMAND...
#
# The launcher holds the other end of ALIVE_FD; TEMPORARY is a folder that is deleted in the end, or empty. However one of the
# processes ends, the rest follows:
#   launcher      ALIVE_FD reads end-of-file, and the watcher below kills the command's process group;
#   this script   the parent-death signal kills the command, and the watcher within a second its process group;
#   the command   what is left of its process group is killed below. Where it becomes unshare(1) with --kill-child, what it has
#                 started is in a PID namespace, and dies with it even when it has left the group.
set -u
alive=$1 temporary=$2
shift 2
trap '' INT TERM HUP
exec 3<&0 # a background job would find /dev/null as its standard input
setpriv --pdeathsig KILL setsid "$@" <&3 3<&- &
command=$!
exec <&- 3<&- >&-
( while read -r -t 1 -u "$alive" _; [ $? -gt 128 ]; do kill -0 $$ || break; done # $$ is this script, also in here
  kill -KILL -- "-$command" "$command" ) 2>/dev/null &
watcher=$!
wait "$command"
code=$?
{ kill -KILL "$watcher" && wait "$watcher"; } 2>/dev/null # without bash's word that it was killed
for _ in {1..40}; do # until they are gone: the launcher deletes their files
    kill -KILL -- "-$command" 2>/dev/null || break
    sleep 0.05
done
[ -z "$temporary" ] || rm -rf "$temporary"
exit "$code"
