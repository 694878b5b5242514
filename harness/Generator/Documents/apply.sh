#!/bin/bash
# Loads the documents beside this script into the kernel of a host, in use or not, without .NET: everything that is not
# ours stays as it is, and running it again changes nothing. Ours is what stands at an address of kube-ipvs0 or in a set.
# A real server of TCP that goes and has connections keeps them at weight 0; the script's next run removes it when it has
# none. `ipvs-generator apply` does more: stale connection-tracking entries of UDP are deleted at once. With
# excluded networks (--ipvs-exclude-cidrs), in which what is others' looks like ours, nothing but real servers is taken away.
#
# Order: sets and rules are in place before a virtual server answers, and go after it.
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
if [ "$(cat /proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null)" = 0 ] && works ip6tables; then
    families="iptables ip6tables"
else
    echo "IPv6, or ip6tables, does not work here: IPv4 alone is served." >&2
fi
# What of a document is for a family that is served: IPv6 virtual servers and addresses have colons in their place, sysctls a name.
served() { if [ "$families" = iptables ]; then grep -vE ' \[|[0-9a-f]*:[0-9a-f:]*/|^net\.ipv6\.' "$1" || true; else cat "$1"; fi; }

served sysctls.txt | grep -v '^-' | sysctl -q -p -
grep '^-' sysctls.txt | sysctl -q -p - 2>/dev/null || true # a host's own settings cannot be written in a namespace
sed -n 's/^# at least: //p' sysctls.txt | while read -r name _ value; do
    [ "$(sysctl -n "$name" 2>/dev/null || echo "$value")" -ge "$value" ] || sysctl -q -w "$name=$value" 2>/dev/null || true # the first namespace's alone
done

{ ipset list -n | grep -E '^KUBE-(NEW-[0-9]+|ENLARGED)$' || true; } | while read -r leftover; do
    ipset destroy "$leftover" # of a run that was killed
done

ip link show kube-ipvs0 >/dev/null 2>&1 || ip link add kube-ipvs0 type dummy

bound() { ip -o address show dev kube-ipvs0 | awk '$4 !~ /^fe80:/ { print $4 }'; }

# Virtual servers of ours that are no longer wanted, as commands.
gone_servers() {
    { ip -o address show | awk '{ print "host", $4 }'; bound | sed 's/^/address /'; ipset save | sed -n 's/^add KUBE-/set /p'; sed 's/^/want /' ipvsadm.txt; ipvsadm -Sn | sed 's/^/have /'; } | awk '
        BEGIN { option["tcp"] = option["TCP"] = "-t"; option["udp"] = option["UDP"] = "-u"; option["sctp"] = option["SCTP"] = "--sctp-service" }
        function bracketed(address) { return address ~ /:/ ? "[" address "]" : address }
        $1 == "host" { sub(/\/.*/, "", $2); host[bracketed($2)] = 1 }
        $1 == "address" { sub(/\/.*/, "", $2); ours[bracketed($2)] = 1 }
        $1 == "set" && $2 ~ /^(6-)?NODE-PORT-(LOCAL-)?(TCP|UDP)$/ { protocol = $2; sub(/.*-/, "", protocol); ported[option[protocol] " " $3] = 1 }
        $1 == "set" && split($3, part, ",") == 2 && split(part[2], at, ":") == 2 { ours[option[at[1]] " " bracketed(part[1]) ":" at[2]] = 1 }
        $1 == "want" && $2 == "-A" { want[$3 " " $4] = 1; port = $4; sub(/.*:/, "", port); wanted[$3 " " port] = 1 }
        $1 == "have" && $2 == "-A" && !($3 " " $4 in want) {
            address = port = $4; sub(/:[0-9]+$/, "", address); sub(/.*:/, "", port)
            if (address in ours || $3 " " $4 in ours || (address in host && $3 " " port in ported && !($3 " " port in wanted))) print "-D", $3, $4
        }
    '
}

# Real servers of the documents' virtual servers that the documents no longer have, as commands.
gone_reals() {
    { sed 's/^/want /' ipvsadm.txt; ipvsadm -Ln; } | awk '
        BEGIN { option["TCP"] = "-t"; option["UDP"] = "-u"; option["SCTP"] = "--sctp-service" }
        $1 == "want" { if ($2 == "-A") servers[$3 " " $4] = 1; else if ($2 == "-a") reals[$3 " " $4 " " $6] = 1; next }
        $1 in option { server = option[$1] " " $2; next }
        $1 != "->" { server = ""; next }
        !(server in servers) || server " " $2 in reals { next }
        $5 + $6 == 0 || server !~ /^-t/ { print "-d", server, "-r", $2; next }
        $4 > 0 { print "-e", server, "-r", $2, "-m -w 0" }
    '
}

# An address goes before its virtual servers do: no packet to it meets the host's own sockets.
if ! grep -q '^# excluded' addresses.txt; then
    gone=$(gone_servers) # by their addresses, which go first
    bound | { grep -vxF -f <(awk '$1 == "address" { print $3 }' addresses.txt) || true; } | sed 's/.*/address delete & dev kube-ipvs0/' | ip -batch -
    ipvsadm -R <<<"$gone"
fi

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
gone_reals | ipvsadm -R

# A virtual server that the kernel refused must not let its packets through to the host's own sockets: the set entries that
# let them pass go again, and an address that nothing else serves is not bound.
refused=$(sed -nE 's/^-A (-t|-u|--sctp-service) ([^ ]+) .*/\1 \2/p' <<<"$left")
awk '
    BEGIN { protocol["-t"] = "tcp"; protocol["-u"] = "udp"; protocol["--sctp-service"] = "sctp"; count = split("CLUSTER-IP EXTERNAL-IP EXTERNAL-IP-LOCAL LOAD-BALANCER", sets) }
    NF {
        address = port = $2; sub(/:[0-9]+$/, "", address); gsub(/[][]/, "", address); sub(/.*:/, "", port)
        for (i = 1; i <= count; i++) print "del KUBE-" (address ~ /:/ ? "6-" : "") sets[i], address "," protocol[$1] ":" port, "-exist"
    }
' <<<"$refused" | ipset restore
unserved=$({ ipvsadm -Sn | sed 's/^/have /'; echo "$refused"; } | awk '
    NF { address = $1 == "have" ? $4 : $2; sub(/:[0-9]+$/, "", address); gsub(/[][]/, "", address) }
    $1 == "have" { if ($2 == "-A") served[address]; next }
    NF && !(address in served) { print "unserved", address }
')

# An address that is there, but bound otherwise (as a possible source of the node's own packets, say), is bound again.
{ ip -o address show dev kube-ipvs0 | awk '{ print "have", $4, / scope host | deprecated / ? "quiet" : "source" }'; echo "$unserved"; served addresses.txt; } | awk '
    $1 == "have" { have[$2] = $3 }
    $1 == "unserved" { unserved[$2] = 1 }
    $1 == "address" {
        there = $3 in have
        address = $3; sub(/\/.*/, "", address)
        if (address in unserved) { if (there) print "address delete", $3, "dev kube-ipvs0"; next }
        if (there && have[$3] == (/ scope host$| preferred_lft 0$/ ? "quiet" : "source")) next
        if (there) print "address delete", $3, "dev kube-ipvs0"
        print
    }
' | ip -batch -

# What only the other mode (--compat kube-proxy, or not) has; a set that somebody uses stays.
ipset list -n | { grep -E '^KUBE-(6-)?(NODE-PORT|NO-LOCAL-ENDPOINT)' || true; } | { grep -vxF -f <(awk '$1 == "create" { print $2 }' ipset.txt) || true; } | while read -r unwanted; do
    ipset destroy "$unwanted" 2>/dev/null || true
done

if [ -n "$left" ]; then
    printf 'The kernel did not take, and so does not serve:\n%s\n' "$left" >&2
    exit 1
fi
