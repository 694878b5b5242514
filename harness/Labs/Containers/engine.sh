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
if ! mountpoint -q /sys/fs/cgroup; then # a lab kernel has none
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while read -r controller _ _ enabled; do
        [ "$enabled" = 1 ] || continue
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
    done </proc/cgroups
fi
echo '{}' >"$folder/daemon.json" # not this machine's own configuration
exec dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" \
    --host "unix://$folder/docker.sock" --add-runtime "node=$runtime" --storage-driver overlay2 --log-level warn \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false
