using System.Net.Sockets;
using System.Text;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Interop;
using Conformance.Linux.Iptables;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;
using Conformance.Linux.Sockets;

namespace Conformance.Linux.Features;

/// <summary>A part of the kernel that a claim can need, and that some kernels are built without.</summary>
public enum Feature
{
    /// <summary>IPVS itself (CONFIG_IP_VS).</summary>
    Ipvs,

    /// <summary>The sysctl net.ipv4.vs.conntrack (CONFIG_IP_VS_NFCT).</summary>
    IpvsConntrack,

    /// <summary>The match <c>ipvs</c> of iptables (CONFIG_NETFILTER_XT_MATCH_IPVS).</summary>
    IpvsMatch,

    /// <summary>Sets of addresses and the match <c>set</c> of iptables (CONFIG_IP_SET, CONFIG_NETFILTER_XT_SET).</summary>
    Ipset,

    /// <summary>The file /proc/net/nf_conntrack (CONFIG_NF_CONNTRACK_PROCFS).</summary>
    ConntrackTable,

    /// <summary>
    /// Reading connection tracking by netlink (CONFIG_NF_CT_NETLINK), which is how evidence is read. A kernel without any connection
    /// tracking has nothing to read, and lacks nothing.
    /// </summary>
    ConntrackNetlink,

    /// <summary>The protocol SCTP (CONFIG_IP_SCTP).</summary>
    Sctp,

    /// <summary>Tunnels of IP in IP (CONFIG_NET_IPIP).</summary>
    IpInIp,

    /// <summary>Tunnels of GRE (CONFIG_NET_IPGRE).</summary>
    Gre,

    /// <summary>Generic UDP encapsulation (CONFIG_NET_FOU).</summary>
    Gue,

    /// <summary>Tunnels over IPv6 (CONFIG_IPV6_TUNNEL).</summary>
    IPv6Tunnel,
}

/// <summary>Features as text.</summary>
public static class FeatureNames
{
    /// <summary>The feature in words, with the kernel's option.</summary>
    public static string Describe(this Feature feature) => feature switch
    {
        Feature.Ipvs => "IPVS (CONFIG_IP_VS)",
        Feature.IpvsConntrack => "sysctl net.ipv4.vs.conntrack (CONFIG_IP_VS_NFCT)",
        Feature.IpvsMatch => "iptables match 'ipvs' (CONFIG_NETFILTER_XT_MATCH_IPVS)",
        Feature.Ipset => "ipset (CONFIG_IP_SET, CONFIG_NETFILTER_XT_SET)",
        Feature.ConntrackTable => "file /proc/net/nf_conntrack (CONFIG_NF_CONNTRACK_PROCFS)",
        Feature.ConntrackNetlink => "ctnetlink (CONFIG_NF_CT_NETLINK)",
        Feature.Sctp => "SCTP (CONFIG_IP_SCTP)",
        Feature.IpInIp => "tunnel of IP in IP (CONFIG_NET_IPIP)",
        Feature.Gre => "tunnel of GRE (CONFIG_NET_IPGRE)",
        Feature.Gue => "GUE (CONFIG_NET_FOU)",
        Feature.IPv6Tunnel => "tunnel over IPv6 (CONFIG_IPV6_TUNNEL)",
        _ => throw new ArgumentOutOfRangeException(nameof(feature)),
    };
}

/// <summary>What this kernel and this user can do, each thing probed once for each process, when it is first asked for.</summary>
public sealed class KernelFeatures
{
    private const int EEXIST = 17; // errno(3)
    private const int IPT_SO_GET_REVISION_MATCH = 66; // linux/netfilter_ipv4/ip_tables.h
    private const ushort IPSET_CMD_PROTOCOL = (6 << 8) | 1; // linux/netfilter/nfnetlink.h, ipset/ip_set.h
    private const ushort NFNL_MSG_COMPAT_GET = 11 << 8; // linux/netfilter/nf_tables_compat.h

    private readonly Lazy<bool> _hasNamespaces;
    private readonly Dictionary<Feature, Lazy<bool>> _features;

    private KernelFeatures()
    {
        Release = File.ReadAllText("/proc/sys/kernel/osrelease").Trim();
        IsRoot = Libc.geteuid() == 0;
        _hasNamespaces = new(() => IsRoot && CanCreateNamespace());
        _features = Enum.GetValues<Feature>().ToDictionary(f => f, f => new Lazy<bool>(() => Probe(f)));
    }

    /// <summary>The features of the running kernel.</summary>
    public static KernelFeatures Current { get; } = new();

    /// <summary>The release, as uname(2) reports it: <c>6.1.0-18-amd64</c>.</summary>
    public string Release { get; }

    /// <summary>Whether the effective user is root.</summary>
    public bool IsRoot { get; }

    /// <summary>Whether a network namespace can be created and entered.</summary>
    public bool HasNamespaces => _hasNamespaces.Value;

    /// <summary>True when labs with IPVS can be built right here.</summary>
    public bool CanRunLabs => IsRoot && HasNamespaces && Has(Feature.Ipvs);

    /// <summary>
    /// Whether the kernel has the feature. Without root only IPVS itself can be detected. Probing makes the kernel load what it has as a
    /// module.
    /// </summary>
    public bool Has(Feature feature) => _features[feature].Value;

    private bool Probe(Feature feature)
    {
        if (!HasNamespaces)
            return feature == Feature.Ipvs && (File.Exists("/proc/net/ip_vs") || ModuleExists("ip_vs"));
        if (feature != Feature.Ipvs)
            _ = Has(Feature.Ipvs); // loads the modules ip_vs and nf_conntrack, which make the files below
        using var probe = NetworkNamespace.Create("probe");
        return feature switch
        {
            Feature.Ipvs => HasFamily(probe, "IPVS"),
            Feature.IpvsConntrack => probe.Run(() => File.Exists("/proc/sys/net/ipv4/vs/conntrack")),
            Feature.ConntrackTable => probe.Run(() => File.Exists("/proc/thread-self/net/nf_conntrack")),
            Feature.ConntrackNetlink => HasConntrackNetlink(probe),
            Feature.IpvsMatch => HasMatch(probe, "ipvs", revision: 0),
            Feature.Ipset => HasIpset(probe) && HasMatch(probe, "set", revision: 4),
            Feature.Sctp => HasSctp(probe),
            Feature.IpInIp => HasLinks(probe, "ipip"),
            Feature.Gre => HasLinks(probe, "gre"),
            Feature.Gue => HasFamily(probe, "fou") || ModuleExists("fou"), // its module has no alias: nobody loads it by itself
            Feature.IPv6Tunnel => HasLinks(probe, "ip6tnl"),
            _ => throw new ArgumentOutOfRangeException(nameof(feature)),
        };
    }

    private static bool Works(Action probe)
    {
        try
        {
            probe();
            return true;
        }
        catch (KernelException)
        {
            return false;
        }
    }

    private static bool CanCreateNamespace() => Works(() => NetworkNamespace.Create("probe").Dispose());

    /// <summary>A module that is loaded, built in, or can be loaded by modprobe(8).</summary>
    private bool ModuleExists(string name)
    {
        if (Directory.Exists($"/sys/module/{name}"))
            return true;
        return new[] { "modules.dep", "modules.builtin" }
            .Select(index => $"/lib/modules/{Release}/{index}")
            .Where(File.Exists)
            .Any(index => File.ReadLines(index).Any(line => line.Contains($"/{name}.ko", StringComparison.Ordinal)));
    }

    /// <summary>A family of generic netlink; the kernel loads its module when it is asked for.</summary>
    private static bool HasFamily(NetworkNamespace ns, string name) => Works(() =>
    {
        using var netlink = new NetlinkSocket(ns, NetlinkProtocol.Generic);
        _ = GenericNetlink.ResolveFamily(netlink, name);
    });

    private static bool HasConntrackNetlink(NetworkNamespace ns) => Works(() => _ = ConntrackEntry.Read(ns));

    /// <summary>A kind of link; the kernel loads its module (rtnl-link-KIND) when one is made.</summary>
    private static bool HasLinks(NetworkNamespace ns, string kind)
    {
        try
        {
            using var route = new RouteSocket(ns);
            route.AddLink("probe", kind);
            return true;
        }
        catch (KernelException e)
        {
            return e.Errno == EEXIST; // the module has made one with the same ends
        }
    }

    private static bool HasSctp(NetworkNamespace ns) => Works(() => ns.Run(() => SctpSocket.Create(AddressFamily.InterNetwork)).Dispose());

    private static bool HasIpset(NetworkNamespace ns) => IsAccepted(ns,
        new NetlinkRequest(IPSET_CMD_PROTOCOL).Fixed(0u).Attribute(1, (byte)6));

    /// <summary>
    /// Asks as iptables does: the legacy variant by getsockopt(2), the nft one over netlink. Whichever module answers
    /// must have been loaded, as any use of iptables does.
    /// </summary>
    private static bool HasMatch(NetworkNamespace ns, string name, byte revision)
    {
        var asked = new byte[30]; // struct xt_get_revision: the name, zero-terminated, and the revision
        Encoding.ASCII.GetBytes(name, asked);
        asked[29] = revision;
        return LegacyTables.Answers(ns, ipv6: false, IPT_SO_GET_REVISION_MATCH, asked)
            || IsAccepted(ns, new NetlinkRequest(NFNL_MSG_COMPAT_GET).Fixed((uint)Libc.AF_INET)
                .Attribute(1, name).Attribute(2, [0, 0, 0, revision]).Attribute(3, [0, 0, 0, 0]));
    }

    private static bool IsAccepted(NetworkNamespace ns, NetlinkRequest request)
    {
        try
        {
            using var netlink = new NetlinkSocket(ns, NetlinkProtocol.Netfilter);
            netlink.Execute(("probe", request));
            return true;
        }
        catch (KernelException)
        {
            return false;
        }
    }
}
