#!/bin/bash
# Makes a Debian 12 machine ready: packages, kernel modules, the .NET SDK. Run as root; running it again changes nothing.
set -euo pipefail

if [ "$(id -u)" != 0 ]; then
    echo "provision.sh must be root: sudo $0" >&2
    exit 1
fi

# Vagrant runs a copy of this script from /tmp: then the project is the folder that it synchronizes.
folder=$(dirname "$0")
[ -e "$folder/packages.tsv" ] || folder=/vagrant/harness
list=$(awk -F '\t' '$3 ~ /^(labs|uml|build)$/ { print $2 }' "$folder/packages.tsv" | sort -u)
mapfile -t packages <<<"$list"
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    echo "Installing ${missing[*]}"
    # A package with a service (nginx) must not start it.
    export DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 RUNLEVEL=1
    apt-get -q update
    apt-get -q install --yes --no-install-recommends "${missing[@]}"
fi

# Without these modules (a container, a cloud kernel) the labs run on the user-mode kernel.
for module in ip_vs nf_conntrack; do
    modprobe "$module" 2>/dev/null || echo "This kernel has no module $module: labs will run on the user-mode kernel."
done

if ! command -v dotnet >/dev/null || ! dotnet --list-sdks | grep -q '^10\.'; then
    echo "Installing the .NET 10 SDK"
    installer=$(mktemp)
    trap 'rm -f "$installer"' EXIT
    curl --fail --silent --show-error --location https://dot.net/v1/dotnet-install.sh --output "$installer"
    bash "$installer" --channel 10.0 --install-dir /usr/share/dotnet
    ln -sf /usr/share/dotnet/dotnet /usr/local/bin/dotnet
fi
