#!/usr/bin/env bash
# A service proxy in a few lines, to be put under test: it serves ClusterIPs of IPv4 by iptables, and nothing else. It needs jq.
# The harness calls it on each node, with the folder of manifests and the node's name. It looks for changes five times a second.
#
#   ./lab run --proxy 'command:-ipv6,-sctp,-health-check-node-port=harness/Clusters/Proxies/sample-proxy.sh' --filter 'ADDR-*'
set -euo pipefail
folder=$1

rules() { # one DNAT rule for each endpoint; rule i of n takes every (n - i)th connection that has come so far
    printf '*nat\n:SAMPLE - [0:0]\n'
    jq --raw-output --slurp '
        map(select(.kind == "EndpointSlice" and .addressType == "IPv4")) as $slices | .[] | select(.kind == "Service") | . as $service
        | .spec.ports[]? as $port | .spec.clusterIPs // [] | .[] | select(contains(".")) as $address
        | [$slices[] | select(.metadata.labels["kubernetes.io/service-name"] == $service.metadata.name) | .ports[]? as $target
            | select($target.name == $port.name) | .endpoints[]? | select(.conditions.ready != false)
            | "\(.addresses[0]):\($target.port)"] | . as $endpoints | range(length) as $i
        | "-A SAMPLE -d \($address) -p \($port.protocol | ascii_downcase) --dport \($port.port) -m statistic --mode nth " +
          "--every \(($endpoints | length) - $i) --packet 0 -j DNAT --to-destination \($endpoints[$i])"' "$folder"/*.json || return
    echo COMMIT
}

nat() { iptables --wait --table nat "$@"; }
nat --new-chain SAMPLE 2>/dev/null || true # it is there when the proxy starts again
for rule in 'PREROUTING -j SAMPLE' 'OUTPUT -j SAMPLE' 'POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE'; do
    # shellcheck disable=SC2086 # the words of a rule
    nat --check $rule 2>/dev/null || nat --append $rule
done
before=
while sleep 0.2; do
    now=$(rules) || continue # a file has just gone
    [ "$now" = "$before" ] || iptables-restore --wait --noflush <<<"$now"
    before=$now
done
