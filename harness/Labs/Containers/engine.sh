#!/bin/bash
# Runs Debian's container engine for one process: in mount and PID namespaces of its own, with all its files in memory, and without
# networks.
#
#   engine.sh RUNTIME
#
# RUNTIME starts the containers; see runtime.pl. The engine listens on /run/conformance-engine/docker.sock of its mount namespace, where
# /run/conformance-engine/proc is the /proc of who started it. It ends, with all containers, when standard input ends: that is a pipe of
# the process that it is for.
set -eu
runtime=$1
folder=/run/conformance-engine
trap '' INT TERM HUP
exec 3<&0 </dev/null
mkdir -p "$folder" /run/docker /run/containerd
# What an engine leaves in these folders stays in this mount namespace.
for private in "$folder" /run/docker /run/containerd; do
    mount -t tmpfs -o mode=0700 tmpfs "$private"
done
mkdir "$folder/proc"
mount --bind /proc "$folder/proc"
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup # a lab kernel has none
cgroup=conformance-engine-$$

# Not this machine's own configuration, and no key in /etc.
echo "{\"deprecated-key-path\": \"$folder/key.json\"}" >"$folder/daemon.json"
unshare --pid --fork --kill-child --mount-proc -- \
    dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" \
    --host "unix://$folder/docker.sock" --add-runtime "node=$runtime" --storage-driver overlay2 --log-level error \
    --cgroup-parent "/$cgroup" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false 3<&- &
engine=$!
( read -r _ || kill -KILL "$engine" ) <&3 3<&- &
watcher=$!
exec 3<&-
wait "$engine" && code=0 || code=$?
{ kill -KILL "$watcher" && wait "$watcher"; } 2>/dev/null || true # without bash's word that it was killed
find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
exit "$code"
