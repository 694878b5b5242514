using System.Collections.Immutable;
using Conformance.Generator.Model;
using Conformance.Linux.Ipset;

namespace Conformance.Generator.Decisions;

/// <summary>A set that exists once for each family, with the comment of the rule that kube-proxy gives it.</summary>
public sealed class SetDefinition(string name, IpsetType type)
{
    private const int MaxNameLength = 31; // IPSET_MAXNAMELEN in linux/netfilter/ipset/ip_set.h, without the zero

    private readonly string _ipv6Name = "KUBE-6-" + name["KUBE-".Length..] is { Length: > MaxNameLength } longName
        ? longName[..MaxNameLength] : "KUBE-6-" + name["KUBE-".Length..];

    /// <summary>The name of IPv4's set.</summary>
    public string Name { get; } = name;

    /// <summary>What its entries are.</summary>
    public IpsetType Type { get; } = type;

    /// <summary>
    /// How many entries a set is made for that begins with so many: the kernel's own number, unless there are, or will soon be, more.
    /// </summary>
    public static uint MaxElements(int count) => count < IpsetSocket.MaxElements / 2 ? IpsetSocket.MaxElements
        : System.Numerics.BitOperations.RoundUpToPowerOf2((uint)count * 2);

    /// <summary>The name in the kernel.</summary>
    public string NameFor(bool ipv6) => ipv6 ? _ipv6Name : Name;

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>A set of one family.</summary>
public readonly record struct SetKey(SetDefinition Definition, bool IsIPv6)
{
    /// <summary>The name in the kernel.</summary>
    public string Name => Definition.NameFor(IsIPv6);

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>Every set that we or kube-proxy make; the names are kube-proxy's.</summary>
public static class Sets
{
    /// <summary>The name under which a larger set is made before it takes the place of a full one.</summary>
    public const string Aside = "KUBE-ENLARGED";

    /// <summary>How the names begin under which apply.sh makes sets before it puts them in place.</summary>
    private const string AsideOfScript = "KUBE-NEW-";

    /// <summary>A pod and itself: hairpin traffic, which needs masquerading.</summary>
    public static readonly SetDefinition LoopBack = new("KUBE-LOOP-BACK", IpsetType.HashIpPortIp);
    /// <summary>ClusterIPs with protocol and port.</summary>
    public static readonly SetDefinition ClusterIp = new("KUBE-CLUSTER-IP", IpsetType.HashIpPort);
    /// <summary>External IPs with protocol and port.</summary>
    public static readonly SetDefinition ExternalIp = new("KUBE-EXTERNAL-IP", IpsetType.HashIpPort);
    /// <summary>External IPs of Services with externalTrafficPolicy Local.</summary>
    public static readonly SetDefinition ExternalIpLocal = new("KUBE-EXTERNAL-IP-LOCAL", IpsetType.HashIpPort);
    /// <summary>Load-balancer addresses with protocol and port.</summary>
    public static readonly SetDefinition LoadBalancer = new("KUBE-LOAD-BALANCER", IpsetType.HashIpPort);
    /// <summary>Load-balancer addresses of Services with externalTrafficPolicy Local.</summary>
    public static readonly SetDefinition LoadBalancerLocal = new("KUBE-LOAD-BALANCER-LOCAL", IpsetType.HashIpPort);
    /// <summary>Load-balancer addresses with source ranges.</summary>
    public static readonly SetDefinition LoadBalancerFirewall = new("KUBE-LOAD-BALANCER-FW", IpsetType.HashIpPort);
    /// <summary>Load-balancer addresses with the networks that may connect.</summary>
    public static readonly SetDefinition LoadBalancerSourceCidr = new("KUBE-LOAD-BALANCER-SOURCE-CIDR", IpsetType.HashIpPortNet);
    /// <summary>Load-balancer addresses with the node addresses that may connect.</summary>
    public static readonly SetDefinition LoadBalancerSourceIp = new("KUBE-LOAD-BALANCER-SOURCE-IP", IpsetType.HashIpPortIp);
    /// <summary>Ports of health checks.</summary>
    public static readonly SetDefinition HealthCheckNodePort = new("KUBE-HEALTH-CHECK-NODE-PORT", IpsetType.BitmapPort);
    /// <summary>Addresses of kube-ipvs0: a new connection to another port of them is rejected.</summary>
    public static readonly SetDefinition IpvsIps = new("KUBE-IPVS-IPS", IpsetType.HashIp);

    // kube-proxy's sets of node ports: TCP and UDP by port alone, which over-matches every other address of the node.
    /// <summary>Node ports of TCP.</summary>
    public static readonly SetDefinition NodePortTcp = new("KUBE-NODE-PORT-TCP", IpsetType.BitmapPort);
    /// <summary>Node ports of TCP with externalTrafficPolicy Local.</summary>
    public static readonly SetDefinition NodePortLocalTcp = new("KUBE-NODE-PORT-LOCAL-TCP", IpsetType.BitmapPort);
    /// <summary>Node ports of UDP.</summary>
    public static readonly SetDefinition NodePortUdp = new("KUBE-NODE-PORT-UDP", IpsetType.BitmapPort);
    /// <summary>Node ports of UDP with externalTrafficPolicy Local.</summary>
    public static readonly SetDefinition NodePortLocalUdp = new("KUBE-NODE-PORT-LOCAL-UDP", IpsetType.BitmapPort);
    /// <summary>Node ports of SCTP with the node addresses.</summary>
    public static readonly SetDefinition NodePortSctp = new("KUBE-NODE-PORT-SCTP-HASH", IpsetType.HashIpPort);
    /// <summary>Node ports of SCTP with externalTrafficPolicy Local, with the node addresses.</summary>
    public static readonly SetDefinition NodePortLocalSctp = new("KUBE-NODE-PORT-LOCAL-SCTP-HASH", IpsetType.HashIpPort);

    // Ours.
    /// <summary>Node ports of every protocol, with the node addresses.</summary>
    public static readonly SetDefinition NodePort = new("KUBE-NODE-PORT", IpsetType.HashIpPort);
    /// <summary>Node ports of every protocol with externalTrafficPolicy Local, with the node addresses.</summary>
    public static readonly SetDefinition NodePortLocal = new("KUBE-NODE-PORT-LOCAL", IpsetType.HashIpPort);

    /// <summary>Addresses with externalTrafficPolicy Local and no endpoint here: closed to the outside, open to pods and node.</summary>
    public static readonly SetDefinition NoLocalEndpoint = new("KUBE-NO-LOCAL-ENDPOINT", IpsetType.HashIpPort);

    private static readonly ImmutableArray<SetDefinition> s_common =
    [
        LoopBack, ClusterIp, ExternalIp, ExternalIpLocal, LoadBalancer, LoadBalancerLocal, LoadBalancerFirewall, LoadBalancerSourceCidr,
            LoadBalancerSourceIp,
        HealthCheckNodePort, IpvsIps,
    ];

    private static readonly ImmutableArray<SetDefinition> s_ofKubeProxy =
        [.. s_common, NodePortTcp, NodePortLocalTcp, NodePortUdp, NodePortLocalUdp, NodePortSctp, NodePortLocalSctp];

    private static readonly ImmutableArray<SetDefinition> s_ofOurs = [.. s_common, NodePort, NodePortLocal, NoLocalEndpoint];

    /// <summary>Every set that can be there from a run of ours or of kube-proxy's.</summary>
    public static readonly ImmutableArray<SetDefinition> All = [.. s_ofKubeProxy.Union(s_ofOurs)];

    /// <summary>The sets that exist under a configuration, empty ones included.</summary>
    public static ImmutableArray<SetDefinition> Of(GeneratorOptions options) => options.CompatKubeProxy ? s_ofKubeProxy : s_ofOurs;

    /// <summary>Whether a set was left by a run that was killed while it made it.</summary>
    public static bool IsLeftover(string name) => name == Aside || name.StartsWith(AsideOfScript, StringComparison.Ordinal);
}
