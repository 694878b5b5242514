using System.Net;
using Conformance.Topologies;

namespace Conformance.Labs;

/// <summary>
/// The rules that flanneld sets on a node with the option to masquerade (--ip-masq): what pods send to the world, and what
/// the world sends to pods of other nodes. Source: flannel's pkg/trafficmngr/iptables (v0.25), IPv4.
/// </summary>
internal static class FlannelRules
{
    /// <param name="all">The network of all pods.</param>
    /// <param name="own">That of the node's own pods.</param>
    /// <returns>A document for iptables-restore(8).</returns>
    internal static string Document(IPNetwork all, Network own) => $"""
        *nat
        :FLANNEL-POSTRTG - [0:0]
        -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
        -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
        -A FLANNEL-POSTRTG -s {own.Subnet} -d {all} -j RETURN
        -A FLANNEL-POSTRTG -s {all} -d {own.Subnet} -j RETURN
        -A FLANNEL-POSTRTG ! -s {all} -d {own.Subnet} -j RETURN
        -A FLANNEL-POSTRTG -s {all} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
        -A FLANNEL-POSTRTG ! -s {all} -d {all} -j MASQUERADE --random-fully
        COMMIT
        *filter
        :FLANNEL-FWD - [0:0]
        -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
        -A FLANNEL-FWD -s {all} -j ACCEPT
        -A FLANNEL-FWD -d {all} -j ACCEPT
        COMMIT

        """;
}
