#!/bin/bash
# Runs a command so that it does not outlive its launcher.
#
#   guard.sh ALIVE_FD TEMPORARY COMMAND...
#
# The launcher holds the other end of ALIVE_FD; TEMPORARY is a folder that is deleted in the end, or empty. COMMAND
# becomes unshare(1) with --kill-child. However one of the processes ends, the rest follows:
#   launcher      ALIVE_FD reads end-of-file, and the watcher below kills the command;
#   this script   the parent-death signal kills unshare, and unshare's --kill-child what runs in it;
#   the command   is process 1 of a PID namespace: what it has started dies with it.
set -u
alive=$1 temporary=$2
shift 2
trap '' INT TERM HUP
exec 3<&0 # a background job would find /dev/null as its standard input
setpriv --pdeathsig KILL "$@" <&3 3<&- &
command=$!
exec <&- 3<&- >&-
( read -r -u "$alive" _; kill -KILL "$command" ) 2>/dev/null &
watcher=$!
wait "$command"
code=$?
{ kill -KILL "$watcher" && wait "$watcher"; } 2>/dev/null # without bash's word that it was killed
[ -z "$temporary" ] || rm -rf "$temporary"
exit "$code"
