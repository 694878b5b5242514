#!/bin/bash
# Starts Debian's container engine for one process: in a mount namespace of its own, with all its files in memory, and without networks.
#
#   engine.sh RUNTIME
#
# RUNTIME starts the containers; see runtime.pl. The engine listens on /mnt/docker.sock of its mount namespace.
set -eu
runtime=$1
folder=/mnt
mount -t tmpfs -o mode=0700 tmpfs "$folder"
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup # a lab kernel has none

# What the engine would leave behind in /run and /etc stays in its mount namespace. The lock of iptables is everybody's.
: >>/run/xtables.lock
: >"$folder/lock"
mount --bind /run/xtables.lock "$folder/lock"
for private in /run /etc/docker; do
    [ ! -d "$private" ] || mount -t tmpfs -o mode=755 tmpfs "$private"
done
: >/run/xtables.lock
mount --bind "$folder/lock" /run/xtables.lock

echo '{}' >"$folder/daemon.json" # not this machine's own configuration
exec dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" \
    --host "unix://$folder/docker.sock" --add-runtime "node=$runtime" --storage-driver overlay2 --log-level error \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false
