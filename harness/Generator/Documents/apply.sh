#!/bin/bash
# Loads the documents beside this script into the kernel of a host, in use or not, without .NET: everything that is not
# ours stays as it is, and running it again changes nothing. It adds and corrects; virtual servers, addresses and sets
# that are no longer in the documents stay until `ipvs-generator apply` or `cleanup`.
#
# Order: sets and rules are in place before a virtual server answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

modprobe --all --quiet ip_vs nf_conntrack 2>/dev/null || true # built in, or loaded by the first use

# The variant of iptables that works on this kernel: the host's own choice first.
works() {
    "$1$variant" --wait 5 -t nat -X KUBE-TRIAL 2>/dev/null || true # left by a run that was killed here
    "$1$variant" --wait 5 -t nat -N KUBE-TRIAL 2>/dev/null && "$1$variant" --wait 5 -t nat -X KUBE-TRIAL
}
families=
for variant in "" -legacy -nft; do
    if works iptables; then
        families=iptables
        break
    fi
done
if [ -z "$families" ]; then
    echo "iptables does not work here, in no variant: nothing was loaded." >&2
    exit 1
fi
if works ip6tables; then
    families="iptables ip6tables"
else
    echo "ip6tables does not work here: IPv4 alone is served." >&2
fi
# What of a document is for a family that is served: IPv6 virtual servers and addresses have colons in their place, sysctls a name.
served() { if [ "$families" = iptables ]; then grep -vE ' \[|[0-9a-f]*:[0-9a-f:]*/|^net\.ipv6\.' "$1" || true; else cat "$1"; fi; }

served sysctls.txt | grep -v '^-' | sysctl -q -p -
grep '^-' sysctls.txt | sysctl -q -p - 2>/dev/null || true # a host's own settings cannot be written in a namespace
sed -n 's/^# no sysctl, written by apply.sh: //p' sysctls.txt | while read -r file _ value; do
    [ ! -w "$file" ] || echo "$value" >"$file" 2>/dev/null || true # the first namespace's alone
done

{ ipset list -n | grep -E '^KUBE-(NEW-[0-9]+|ENLARGED)$' || true; } | while read -r leftover; do
    ipset destroy "$leftover" # of a run that was killed
done

# Each set is built aside and put in place in one step: no packet meets a half-filled one.
{ ipset list -n | sed 's/^/have /'; cat ipset.txt; } | awk '
    $1 == "have" { have[$2] = 1; next }
    $1 == "create" { name = $2; sub(/^[^ ]+ [^ ]+ /, ""); print "create KUBE-NEW-" ++count " " $0; print "flush KUBE-NEW-" count; names[count] = name }
    $1 == "add" { $2 = "KUBE-NEW-" count; print }
    END {
        for (i = 1; i <= count; i++) {
            if (names[i] in have) { print "swap KUBE-NEW-" i " " names[i]; print "destroy KUBE-NEW-" i }
            else print "rename KUBE-NEW-" i " " names[i]
        }
    }
' | ipset restore

for iptables in $families; do
    grep -vE '^-A (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) ' "$iptables.txt" | "$iptables$variant-restore" --wait 5 --noflush
    # In reverse, since each goes to the head of its chain: the order of the document is what comes of it.
    table=
    while read -r line; do
        case $line in
            \**) table=${line#\*} ;;
            '-A INPUT '* | '-A FORWARD '* | '-A OUTPUT '* | '-A PREROUTING '* | '-A POSTROUTING '*) echo "$table ${line#-A }" ;;
        esac
    done <"$iptables.txt" | tac | while read -r table chain rule; do
        eval "rule=($rule)" # the comments are quoted as for a shell, and are the generator's own
        # shellcheck disable=SC2154
        "$iptables$variant" --wait 5 -t "$table" -C "$chain" "${rule[@]}" 2>/dev/null || "$iptables$variant" --wait 5 -t "$table" -I "$chain" "${rule[@]}"
    done
done

[ -e /sys/class/net/kube-ipvs0 ] || ip link show kube-ipvs0 >/dev/null 2>&1 || ip link add kube-ipvs0 type dummy

# What of the document the kernel does not have: a virtual server that is there is edited, a real server that is there
# keeps its connections. A weight that was set by hand is set back.
missing() {
    { ipvsadm -Sn | sed 's/^/have /'; served ipvsadm.txt; } | awk '
        function key() { return $1 == "-A" || $1 == "-a" ? $2 " " $3 ($1 == "-a" ? " " $5 : "") : "" }
        $1 == "have" { sub(/^have /, ""); have[$0] = 1; there[key()] = 1; next }
        !($0 in have) { if (key() in there) { if ($1 == "-A") sub(/^-A/, "-E"); else sub(/^-a/, "-e") } print }
    '
}
missing | ipvsadm -R || true # judged by what is left
left=$(missing | grep -v '^--set' || true)

have=$(ip -o address show dev kube-ipvs0 | awk '{ print $4 }')
served addresses.txt | while read -r verb _ address _; do
    if [ "$verb" = address ] && ! grep -qxF "$address" <<<"$have"; then echo "address add $address dev kube-ipvs0"; fi
done | ip -batch -

if [ -n "$left" ]; then
    printf 'The kernel did not take, and so does not serve:\n%s\n' "$left" >&2
    exit 1
fi
