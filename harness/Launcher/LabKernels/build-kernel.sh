#!/bin/bash
# Builds a user-mode Linux kernel.
#
#   build-kernel.sh WORK CONFIGURATION JOBS package|archive|folder SOURCE
#
# WORK is an empty folder, in which everything happens; the kernel is then WORK/linux, with WORK/config and WORK/release. Standard
# output says where it is, a line each; all else goes to WORK/../build.log.
set -euo pipefail
work=$1 configuration=$2 jobs=$3 kind=$4 source=$5
cd "$work"
exec 3>&1 >../build.log 2>&1

case $kind in
package)
    echo "Fetching $source" >&3
    apt-get -q download "$source"
    dpkg-deb -x ./*.deb package
    rm ./*.deb
    source=$(find "$work/package/usr/src" -name '*.tar*' -print -quit)
    ;&
archive)
    echo "Unpacking $(basename "$source")" >&3
    mkdir tree
    tar --extract --file "$source" --directory tree --strip-components 1
    rm -rf package
    tree=$work/tree
    ;;
folder) tree=$source ;;
esac
if [ ! -f "$tree/Makefile" ] || [ ! -d "$tree/arch/um" ]; then
    echo "error: $source is no Linux source tree: it has no arch/um"
    exit 1
fi

run() { make --directory "$tree" O="$work/build" ARCH=um "$@"; }
mkdir build
echo "Configuring" >&3
KCONFIG_ALLCONFIG=$configuration run allnoconfig
for option in $(grep -o '^CONFIG_[A-Z0-9_]*=y' "$configuration"); do
    grep -q "^$option\$" build/.config || echo "this tree does not have $option"
done
release=$(run --silent kernelrelease)
echo "Compiling Linux $release" >&3
run --jobs "$jobs" linux
strip build/linux -o linux
cp build/.config config
echo "$release" >release
