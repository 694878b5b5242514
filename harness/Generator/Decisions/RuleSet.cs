using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Iptables;

namespace Conformance.Generator.Decisions;

/// <summary>A jump from a chain of the kernel's into one of ours.</summary>
public sealed record Jump(string Table, string From, string Comment, string To)
{
    /// <summary>The rule as iptables-save prints it, without its chain.</summary>
    public string Rule => $"-m comment --comment \"{Comment}\" -j {To}";
}

/// <summary>
/// The iptables rules of one family, written as iptables-save prints them, so that what is wanted and what is there
/// can be compared as text. Names of objects never stand in them.
/// </summary>
public sealed class RuleSet(DesiredState state, NodeState node, bool ipv6)
{
    /// <summary>The table nat.</summary>
    public const string NatTable = "nat";
    /// <summary>The table filter.</summary>
    public const string FilterTable = "filter";

    private static readonly string[] s_natChains = ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER",
        "KUBE-MARK-MASQ"];
    private static readonly string[] s_filterChains = ["KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL",
        "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"];

    private readonly GeneratorOptions _options = state.Options;
    private readonly List<(string Table, string Chain, string Rule)> _rules = [];

    /// <summary>Every chain that is ours, by table.</summary>
    public static IReadOnlyList<(string Table, string Chain)> Chains { get; } =
        [.. s_natChains.Select(c => (NatTable, c)), .. s_filterChains.Select(c => (FilterTable, c))];

    /// <summary>The jumps, in the order in which they stand in their chains.</summary>
    public static IReadOnlyList<Jump> Jumps { get; } =
    [
        new(NatTable, "PREROUTING", "kubernetes service portals", "KUBE-SERVICES"),
        new(NatTable, "OUTPUT", "kubernetes service portals", "KUBE-SERVICES"),
        new(NatTable, "POSTROUTING", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
        new(FilterTable, "INPUT", "kubernetes ipvs access filter", "KUBE-IPVS-FILTER"),
        new(FilterTable, "INPUT", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        new(FilterTable, "INPUT", "kubernetes health check rules", "KUBE-NODE-PORT"),
        new(FilterTable, "FORWARD", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
        new(FilterTable, "FORWARD", "kubernetes forwarding rules", "KUBE-FORWARD"),
        new(FilterTable, "OUTPUT", "kubernetes ipvs access filter", "KUBE-IPVS-OUT-FILTER"),
    ];

    /// <summary>The rules of our chains in order.</summary>
    public IReadOnlyList<(string Table, string Chain, string Rule)> Rules
    {
        get
        {
            if (_rules.Count == 0)
                Build();
            return _rules;
        }
    }

    /// <summary>A document for iptables-restore, of our chains alone or with the jumps to them.</summary>
    public string ToDocument(bool withJumps)
    {
        var text = new StringBuilder();
        foreach (var table in new[] { NatTable, FilterTable })
        {
            text.Append('*').Append(table).Append('\n');
            foreach (var (_, chain) in Chains.Where(c => c.Table == table))
                text.Append(':').Append(chain).Append(" - [0:0]\n");
            if (withJumps)
            {
                foreach (var jump in Jumps.Where(j => j.Table == table))
                    text.Append("-A ").Append(jump.From).Append(' ').Append(jump.Rule).Append('\n');
            }
            foreach (var (_, chain, rule) in Rules.Where(r => r.Table == table))
                text.Append("-A ").Append(chain).Append(' ').Append(rule).Append('\n');
            text.Append("COMMIT\n");
        }
        return text.ToString();
    }

    private void Build()
    {
        var mark = $"0x{_options.MasqueradeMark:x}";
        Nat("KUBE-SERVICES", $"-s {(ipv6 ? "::1/128" : "127.0.0.0/8")} -j RETURN");
        WhereNotEmpty(Sets.LoadBalancer, "KUBE-SERVICES", "Kubernetes service lb portal", "dst,dst", "-j KUBE-LOAD-BALANCER");
        ClusterIpMasquerade();
        foreach (var (set, comment, masquerades) in new[]
        {
            (Sets.ExternalIp, "Kubernetes service external ip + port for masquerade and filter purpose", true),
            (Sets.ExternalIpLocal, "Kubernetes service external ip + port with externalTrafficPolicy=local", false),
        })
        {
            if (masquerades)
                WhereNotEmpty(set, "KUBE-SERVICES", comment, "dst,dst", "-j KUBE-MARK-MASQ");
            else if (!_options.CompatKubeProxy)
            {
                NoLocalEndpointMasquerade();
                WhereNotEmpty(set, "KUBE-SERVICES", comment, "dst,dst", "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ");
            }
            WhereNotEmpty(set, "KUBE-SERVICES", comment, "dst,dst",
                "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT");
            WhereNotEmpty(set, "KUBE-SERVICES", comment, "dst,dst", "-m addrtype --dst-type LOCAL -j ACCEPT");
        }
        Nat("KUBE-SERVICES", "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT");
        WhereNotEmpty(Sets.ClusterIp, "KUBE-SERVICES", null, "dst,dst", "-j ACCEPT");
        WhereNotEmpty(Sets.LoadBalancer, "KUBE-SERVICES", null, "dst,dst", "-j ACCEPT");

        const string loadBalancerLocal = "Kubernetes service load balancer ip + port with externalTrafficPolicy=local";
        // the node's own traffic has the virtual address as its source: no endpoint elsewhere could answer it
        if (!_options.CompatKubeProxy)
            WhereNotEmpty(Sets.LoadBalancerLocal, "KUBE-LOAD-BALANCER", loadBalancerLocal, "dst,dst",
                "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ");
        WhereNotEmpty(Sets.LoadBalancerLocal, "KUBE-LOAD-BALANCER", loadBalancerLocal, "dst,dst", "-j RETURN");
        Nat("KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ");
        NodePorts();
        Nat("KUBE-MARK-MASQ", $"-j MARK --set-xmark {mark}/{mark}");
        WhereNotEmpty(Sets.LoopBack, "KUBE-POSTROUTING", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
            "dst,dst,src", "-j MASQUERADE");
        Nat("KUBE-POSTROUTING", $"-m mark ! --mark {mark}/{mark} -j RETURN");
        Nat("KUBE-POSTROUTING", $"-j MARK --set-xmark {mark}/0x0");
        Nat("KUBE-POSTROUTING", "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully");
        BuildFilter(mark);
    }

    private void BuildFilter(string mark)
    {
        Filter("KUBE-FORWARD", $"-m comment --comment \"kubernetes forwarding rules\" -m mark --mark {mark}/{mark} -j ACCEPT");
        Filter("KUBE-FORWARD",
            "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        foreach (var key in state.ClosedToNode.Where(k => k.IsIPv6 == ipv6).OrderBy(k => k.ToString(), StringComparer.Ordinal))
            Filter("KUBE-IPVS-OUT-FILTER", string.Create(CultureInfo.InvariantCulture,
                $"-s {key.Address.Text()}/{(ipv6 ? 128 : 32)} -m ipvs --vproto {(int)key.Protocol} --vaddr {key.Address.Text()} --vport " +
                $"{key.Port} -j DROP"));
        foreach (var set in new[] { Sets.LoadBalancer, Sets.ClusterIp, Sets.ExternalIp, Sets.ExternalIpLocal })
            Filter("KUBE-IPVS-FILTER", $"{Match(set, "dst,dst")} -j RETURN");
        Filter("KUBE-IPVS-FILTER", $"{Match(Sets.HealthCheckNodePort, "dst")} -j RETURN");
        Filter("KUBE-IPVS-FILTER",
            $"-m conntrack --ctstate NEW {Match(Sets.IpvsIps, "dst")} " +
            $"-j REJECT --reject-with {(ipv6 ? "icmp6" : "icmp")}-port-unreachable");
        Filter("KUBE-NODE-PORT",
            $"-m comment --comment \"Kubernetes health check node port\" {Match(Sets.HealthCheckNodePort, "dst")} -j ACCEPT");
        if (!_options.CompatKubeProxy)
            DropWithoutLocalEndpoint();
        WhereNotEmpty(Sets.LoadBalancerFirewall, "KUBE-PROXY-FIREWALL",
            "Kubernetes service load balancer ip + port for load balancer with sourceRange", "dst,dst", "-j KUBE-SOURCE-RANGES-FIREWALL",
            FilterTable);
        WhereNotEmpty(Sets.LoadBalancerSourceCidr, "KUBE-SOURCE-RANGES-FIREWALL",
            "Kubernetes service load balancer ip + port + source cidr for packet filter purpose", "dst,dst,src", "-j RETURN", FilterTable);
        WhereNotEmpty(Sets.LoadBalancerSourceIp, "KUBE-SOURCE-RANGES-FIREWALL",
            "Kubernetes service load balancer ip + port + source IP for packet filter purpose", "dst,dst,src", "-j RETURN", FilterTable);
        Filter("KUBE-SOURCE-RANGES-FIREWALL", "-j DROP");
    }

    /// <summary>
    /// externalTrafficPolicy Local: what comes from outside has no endpoint here and is dropped (KEP-1138, KEP-2086), new
    /// connections only: those of an endpoint that is draining go on. Where pods cannot be recognized, nothing is
    /// dropped: the Service answers as one with policy Cluster. The rule is there always, so that only the set has to change.
    /// </summary>
    private void DropWithoutLocalEndpoint()
    {
        if (NotFromPods() is { } outside)
            Filter("KUBE-PROXY-FIREWALL",
                $"{outside}-m comment --comment \"Kubernetes service with externalTrafficPolicy=local and no local endpoint\" -m " +
                $"conntrack --ctstate NEW {Match(Sets.NoLocalEndpoint, "dst,dst")} -m addrtype ! --src-type LOCAL -j DROP");
    }

    /// <summary>
    /// A pod that is let in goes on to an endpoint elsewhere, which must answer through this node. (The outside is dropped later.)
    /// </summary>
    private void NoLocalEndpointMasquerade() =>
        WhereNotEmpty(Sets.NoLocalEndpoint, "KUBE-SERVICES", "Kubernetes service with externalTrafficPolicy=local and no local endpoint",
            "dst,dst", "-j KUBE-MARK-MASQ");

    private void ClusterIpMasquerade()
    {
        const string comment = "Kubernetes service cluster ip + port for masquerade purpose";
        if (_options.MasqueradeAll)
            WhereNotEmpty(Sets.ClusterIp, "KUBE-SERVICES", comment, "dst,dst", "-j KUBE-MARK-MASQ");
        else if (NotFromPods() is { } outside && state.HasEntries(new SetKey(Sets.ClusterIp, ipv6)))
            Nat("KUBE-SERVICES", $"{outside}-m comment --comment \"{comment}\" {Match(Sets.ClusterIp, "dst,dst")} -j KUBE-MARK-MASQ");
        else // without knowing the pods only the node's own traffic, whose source is the virtual address
            WhereNotEmpty(Sets.ClusterIp, "KUBE-SERVICES", comment, "src,dst", "-j KUBE-MARK-MASQ");
    }

    /// <summary>The match of what does not come from pods, with a space behind it; null when pods cannot be recognized.</summary>
    private string? NotFromPods()
    {
        var family = ipv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        IPNetwork? network = _options.DetectLocalMode switch
        {
            DetectLocalMode.ClusterCIDR when _options.ClusterCidrOf(family) is { } cluster => cluster,
            // Ours: where nothing is configured, the Node's own networks of pods do.
            DetectLocalMode.ClusterCIDR when _options.CompatKubeProxy => null,
            DetectLocalMode.ClusterCIDR or DetectLocalMode.NodeCIDR => node.PodCidrs.Where(c => c.BaseAddress.AddressFamily == family)
            .Select(c => (IPNetwork?)c).FirstOrDefault(),
            _ => null,
        };
        return _options.DetectLocalMode switch
        {
            DetectLocalMode.BridgeInterface => $"! -i {_options.PodBridgeInterface} ",
            DetectLocalMode.InterfaceNamePrefix => $"! -i {_options.PodInterfaceNamePrefix}+ ",
            _ when network is { } pods => $"! -s {pods.BaseAddress.Text()}/{pods.PrefixLength} ",
            _ => null,
        };
    }

    private void NodePorts()
    {
        if (!_options.CompatKubeProxy)
        {
            const string local = "Kubernetes nodeport with externalTrafficPolicy=local";
            WhereNotEmpty(Sets.NodePortLocal, "KUBE-NODE-PORT", local, "dst,dst", "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ");
            WhereNotEmpty(Sets.NodePortLocal, "KUBE-NODE-PORT", local, "dst,dst", "-j RETURN");
            WhereNotEmpty(Sets.NodePort, "KUBE-NODE-PORT", "Kubernetes nodeport for masquerade purpose", "dst,dst", "-j KUBE-MARK-MASQ");
            return;
        }
        foreach (var (protocol, local, all) in new[] { (TransportProtocol.Tcp, Sets.NodePortLocalTcp, Sets.NodePortTcp),
            (TransportProtocol.Udp, Sets.NodePortLocalUdp, Sets.NodePortUdp),
            (TransportProtocol.Sctp, Sets.NodePortLocalSctp, Sets.NodePortSctp) })
        {
            var (directions, type) = protocol == TransportProtocol.Sctp ? ("dst,dst", " with type \\'hash ip:port\\'") : ("dst", "");
            var name = protocol.ToString().ToUpperInvariant();
            WhereNotEmpty(local, "KUBE-NODE-PORT", $"Kubernetes nodeport {name} port with externalTrafficPolicy=local{type}", directions,
                "-j RETURN", NatTable, $"-p {name.ToLowerInvariant()} ");
            WhereNotEmpty(all, "KUBE-NODE-PORT", $"Kubernetes nodeport {name} port for masquerade purpose{type}", directions,
                "-j KUBE-MARK-MASQ", NatTable, $"-p {name.ToLowerInvariant()} ");
        }
    }

    private string Match(SetDefinition set, string directions) => $"-m set --match-set {set.NameFor(ipv6)} {directions}";

    private void WhereNotEmpty(SetDefinition set, string chain, string? comment, string directions, string target,
        string table = NatTable, string before = "")
    {
        if (state.HasEntries(new SetKey(set, ipv6)))
            _rules.Add((table, chain,
                $"{before}{(comment is null ? "" : $"-m comment --comment \"{comment}\" ")}{Match(set, directions)} {target}"));
    }

    private void Nat(string chain, string rule) => _rules.Add((NatTable, chain, rule));

    private void Filter(string chain, string rule) => _rules.Add((FilterTable, chain, rule));
}
