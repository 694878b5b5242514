#!/bin/bash
# Builds a user-mode Linux kernel.
#
#   build-kernel.sh WORK CONFIGURATION JOBS package|deb|archive|folder SOURCE
#
# WORK is an empty folder, in which everything happens; the kernel is then WORK/ready/linux, and WORK/release says which. Standard
# output says where it is, a line each; all else goes to WORK/build.log.
set -euo pipefail
work=$1 configuration=$2 jobs=$3 kind=$4 source=$5
cd "$work"
exec 3>&1 >build.log 2>&1
export TMPDIR=$work # of compilers

if [ "$kind" = package ]; then
    echo "Fetching $source" >&3
    apt-get -q download "$source"
    kind=deb source=$(echo ./*.deb)
fi
if [ "$kind" = deb ]; then
    dpkg-deb -x "$source" package
    rm -f ./*.deb
    kind=archive source=$(find package/usr/src -name '*.tar*' -print -quit)
fi
case $kind in
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
grep -o '^CONFIG_[A-Z0-9_]*=y' "$configuration" | while read -r option; do
    grep -q "^$option\$" build/.config || echo "this tree does not have $option"
done
release=$(run --silent kernelrelease)
echo "Compiling Linux $release" >&3
run --jobs "$jobs" linux
mkdir -p "ready/lib/modules/$release"
strip build/linux -o ready/linux
cp build/.config ready/config
# What is built in is no module, and modprobe must know: it fails for names that it has never heard of.
cp build/modules.builtin build/modules.builtin.modinfo build/modules.order "ready/lib/modules/$release/" || true
/sbin/depmod --basedir ready "$release"
echo "$release" >release
