using Conformance.Linux.Namespaces;
using Conformance.Linux.Sysctls;

namespace Conformance.Labs;

/// <summary>
/// The sysctls that every node starts from. A new namespace copies the current IPv4 settings of the namespace it is
/// made from (net.core.devconf_inherit_init_net), and distributions and container engines change those: so each one
/// that decides about a packet is stated here. Meanings: Documentation/networking/ip-sysctl.rst.
/// </summary>
internal static class NodeSysctls
{
    private static readonly (string Name, string Value)[] s_ipv4 =
    [
        ("rp_filter", "0"),
        ("accept_local", "0"),
        ("route_localnet", "0"),
        ("arp_ignore", "0"),
        ("arp_announce", "0"),
        ("arp_filter", "0"),
        ("proxy_arp", "0"),
        ("send_redirects", "0"),
        ("accept_redirects", "0"),
        ("secure_redirects", "0"),
        ("accept_source_route", "0"),
        ("log_martians", "0"),
    ];

    private static readonly (string Name, string Value)[] s_ipv6 =
    [
        ("accept_dad", "0"),
        ("dad_transmits", "0"),
        ("accept_ra", "0"),
        ("accept_redirects", "0"),
        ("router_solicitations", "0"),
        ("disable_ipv6", "0"),
    ];

    /// <summary>Whether the frames of bridges pass iptables (of br_netfilter; there only when that is loaded).</summary>
    internal static IReadOnlyList<string> BridgeFilters { get; } =
        ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];

    /// <summary>States them all in the namespace, whose only interface is lo.</summary>
    internal static void Apply(NetworkNamespace ns, bool forwarding) => ns.Run(() =>
    {
        // First: writing ip_forward resets the redirect settings of every interface.
        Sysctl.Write("net.ipv4.ip_forward", forwarding ? "1" : "0");
        foreach (var device in new[] { "all", "default", "lo" })
        {
            foreach (var (name, value) in s_ipv4)
                Sysctl.Write($"net/ipv4/conf/{device}/{name}", value);
        }
        // No error is limited, neither for each destination nor for the whole machine: the latter counts those of all labs.
        Sysctl.Write("net.ipv4.icmp_ratemask", "0");
        Sysctl.Write("net.ipv4.icmp_echo_ignore_all", "0");
        if (!Sysctl.Exists("net.ipv6.conf.all.forwarding"))
            return;
        Sysctl.Write("net.ipv6.icmp.ratemask", "\n"); // no type
        Sysctl.Write("net.ipv6.conf.all.forwarding", forwarding ? "1" : "0");
        Sysctl.Write("net.ipv6.conf.default.addr_gen_mode", "1"); // no link-local address by itself: no noise on the wire
        foreach (var device in new[] { "all", "default" })
        {
            foreach (var (name, value) in s_ipv6)
                Sysctl.Write($"net/ipv6/conf/{device}/{name}", value);
        }
    });
}
