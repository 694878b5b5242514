using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using FsCheck;
using FsCheck.Fluent;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>A flow: who asks for which address and port, over which protocol.</summary>
internal sealed record RandomFlow(string From, VirtualServerKey Target)
{
    public override string ToString() => $"{From} -> {Target}";
}

/// <summary>Objects of the topology "cluster", and flows to them.</summary>
internal sealed record FlowCase(IReadOnlyList<Service> Services, IReadOnlyList<EndpointSlice> Slices, IReadOnlyList<RandomFlow> Flows)
{
    internal const int FlowsOfCase = 40;
    internal const ushort PodPort = 8080;

    /// <summary>Pods with the node that they are on; those that serve come first.</summary>
    internal static readonly (string Name, string Node, IPAddress V4, IPAddress V6)[] Pods =
    [
        Pod("web-a", "node1", "10.244.0.12", "fd00:10:244::12"), Pod("pod-b", "node1", "10.244.0.13", "fd00:10:244::13"),
        Pod("web-b", "node2", "10.244.1.143", "fd00:10:244:1::143"), Pod("web-c", "node2", "10.244.1.12", "fd00:10:244:1::12"),
        Pod("pod-a", "node1", "10.244.0.11", "fd00:10:244::11"), Pod("pod-c", "node2", "10.244.1.11", "fd00:10:244:1::11"),
    ];

    internal const int Serving = 4;
    private static readonly string[] s_askers = ["client", "client", "pod-a", "web-a", "pod-b", "pod-c", "web-b", "node1", "node2"];
    private static readonly IPAddress[] s_nodeAddresses = Addresses("192.168.113.101", "192.168.113.103", "fd00:113::101", "fd00:113::103");
    private static readonly IPAddress[] s_outside = Addresses("203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8:7::1",
        "2001:db8:7::2");
    private static readonly IPNetwork[] s_ranges = [.. new[] { "0.0.0.0/0", "192.168.113.0/24", "192.168.113.101/32", "10.244.0.0/24",
        "198.18.0.0/15", "::/0", "fd00:113::/64", "2001:db8:ffff::/64" }.Select(IPNetwork.Parse)];

    /// <summary>The ports that a Service may have.</summary>
    internal static readonly ServicePort[] Ports = [new("tcp", TransportProtocol.Tcp, 80, 0), new("udp", TransportProtocol.Udp, 80, 0),
        new("other", TransportProtocol.Tcp, 81, 0), new("sctp", TransportProtocol.Sctp, 80, 0)];

    /// <summary>Any case; a smaller one of a case that failed has one flow, and fewer objects.</summary>
    /// <param name="protocols">Of the flows; Services may have ports of others.</param>
    internal static Arbitrary<FlowCase> Any(params IReadOnlyList<TransportProtocol> protocols) => Arb.From(
        from names in Gen.SubListOf("a", "b", "c", "d", "e", "f")
        from services in Gen.CollectToList(names, Service)
        from slices in Gen.CollectToList(names, name => Gen.CollectToList(new[] { false, true }, ipv6 => Slice(name, ipv6)))
        from flows in Gen.ArrayOf(Flow(services, protocols), FlowsOfCase)
        select new FlowCase(services, [.. slices.SelectMany(s => s)], flows), Smaller);

    internal Cluster ToCluster(IEnumerable<NodeObject> nodes)
    {
        var cluster = new Cluster();
        foreach (var node in nodes)
            cluster.Put(node);
        foreach (var service in Services)
            cluster.Put(service);
        foreach (var slice in Slices)
            cluster.Put(slice);
        return cluster;
    }

    public override string ToString() => string.Join('\n', Services.Select(Describe).Concat(Slices.Where(s => s.Endpoints.Count > 0)
        .Select(s => $"{s.Name} {string.Join(", ", s.Endpoints.Select(Describe))}")).Concat(Flows.Select(f => f.ToString())));

    private static string Describe(Service s) => $"{s.Name} {string.Join(' ', s.ClusterIPs)} external {string.Join(' ', s.ExternalIPs)} " +
        $"balanced {string.Join(' ', s.LoadBalancerIPs)} ranges {string.Join(' ', s.LoadBalancerSourceRanges)} ports " +
        string.Join(' ', s.Ports.Select(p => $"{p.Protocol}/{p.Port}/{p.NodePort}")) + (s.ExternalPolicyIsLocal ? " external Local" : "") +
        (s.InternalPolicyIsLocal ? " internal Local" : "") + (s.AffinitySeconds > 0 ? " affinity" : "") +
        (s.UsesTopologyHints ? " hints" : "") + $" created {s.CreatedAt:dd}";

    private static string Describe(Endpoint e) => $"{e.Address}{(e.IsReady ? "" : " not ready")}{(e.IsServing ? "" : " not serving")}" +
        $"{(e.IsTerminating ? " terminating" : "")}{(e.HintedZones is null ? "" : " hint")}";

    private static IEnumerable<FlowCase> Smaller(FlowCase value)
    {
        if (value.Flows.Count > 1)
        {
            foreach (var flow in value.Flows)
                yield return value with { Flows = [flow] };
            yield break;
        }
        foreach (var service in value.Services)
            yield return value with
            {
                Services = [.. value.Services.Where(s => s != service)],
                Slices = [.. value.Slices.Where(s => s.Service != service.Name)]
            };
        foreach (var slice in value.Slices.Where(s => s.Endpoints.Count > 0))
        {
            foreach (var endpoint in slice.Endpoints)
                yield return value with
                {
                    Slices = [.. value.Slices.Select(s => s != slice ? s
                        : s with { Endpoints = [.. s.Endpoints.Where(e => e != endpoint)] })]
                };
        }
    }

    private static Gen<Service> Service(string name) =>
        from families in Gen.Elements("4", "4", "46", "64", "6")
        from external in Gen.SubListOf(s_outside)
        from balanced in Gen.SubListOf(s_outside)
        from kind in Gen.Elements("ClusterIP", "external", "NodePort", "LoadBalancer", "LoadBalancer")
        from ranges in Gen.SubListOf(s_ranges)
        from ports in Gen.SubListOf(Ports)
        from firstNodePort in Gen.Elements(30000, 30010, 30020, 30030, 80) // one that a Service may have as its port
        from flags in Gen.ArrayOf(Gen.Elements(false, true), 6)
        from affinity in Gen.Elements(0, 0, 0, 10800)
        from created in Gen.Choose(0, 3)
        let number = name[0] - 'a' + 1
        select new Service
        {
            Name = new ObjectName("default", name),
            CreatedAt = DateTimeOffset.UnixEpoch.AddDays(created),
            IsLoadBalancer = kind == "LoadBalancer",
            AcceptsExternalTraffic = kind != "ClusterIP",
            ClusterIPs = [.. families.Select(f => IPAddress.Parse(f == '4' ? $"10.96.7.{number}" : $"fd00:10:96:7::{number}"))],
            ExternalIPs = kind is "external" or "NodePort" && flags[4] ? [.. external] : [],
            LoadBalancerIPs = kind == "LoadBalancer" ? [.. balanced] : [],
            LoadBalancerSourceRanges = kind == "LoadBalancer" && flags[0] ? [.. ranges] : [],
            Ports = [.. (ports.Count == 0 ? Ports : [.. ports]).Select((p, i) => p with
                { NodePort = kind is "NodePort" or "LoadBalancer" ? (ushort)(firstNodePort + i) : (ushort)0 })],
            ExternalPolicyIsLocal = kind != "ClusterIP" && flags[2],
            InternalPolicyIsLocal = flags[3] && flags[5],
            AffinitySeconds = affinity,
            UsesTopologyHints = flags[1],
        };

    private static Gen<EndpointSlice> Slice(string service, bool ipv6) =>
        from pods in Gen.SubListOf(Pods[..Serving])
        from conditions in Gen.ArrayOf(Gen.Elements("ready", "ready", "ready", "terminating", "unready"), Serving)
        from hints in Gen.Elements("none", "none", "all", "some")
        select new EndpointSlice(
            new ObjectName("default", $"{service}-{(ipv6 ? 6 : 4)}"), new ObjectName("default", service), ipv6,
            [.. Ports.Select(p => new SlicePort(p.Name, p.Protocol, PodPort))],
            [.. pods.Select((p, i) => new Endpoint(ipv6 ? p.V6 : p.V4, conditions[i] == "ready", conditions[i] != "unready",
                conditions[i] == "terminating", p.Node, hints == "none" || (hints == "some" && i == 0) ? null : [$"zone-{p.Node}"]))]);

    /// <summary>Mostly to what a Service has; else to an address of a Service or of nobody, and any port.</summary>
    private static Gen<RandomFlow> Flow(IReadOnlyList<Service> services, IReadOnlyList<TransportProtocol> protocols)
    {
        var targets = services.SelectMany(TargetsOf).Where(t => protocols.Contains(t.Protocol)).ToArray();
        var addresses = targets.Select(t => t.Address).Concat(s_nodeAddresses).Append(IPAddress.Parse("10.96.7.99")).Distinct().ToArray();
        var any = from address in Gen.Elements(addresses)
                  from port in s_nodeAddresses.Contains(address) ? Gen.Elements<ushort>(30000, 30009, 30010, 30020)
                      : Gen.Elements<ushort>(80, 81, 82)
                  from protocol in Gen.Elements(protocols.AsEnumerable())
                  select new VirtualServerKey(protocol, address, port);
        return from asker in Gen.Elements(s_askers)
               from target in targets.Length == 0 ? any : Gen.Frequency((3, Gen.Elements(targets)), (1, any))
               select new RandomFlow(asker, target);
    }

    /// <summary>What a Service is reached by, on nodes as well.</summary>
    internal static IEnumerable<VirtualServerKey> TargetsOf(Service service) =>
        from port in service.Ports
        from target in service.ClusterIPs.Concat(service.ExternalIPs).Concat(service.LoadBalancerIPs).Select(a => (Address: a, port.Port))
            .Concat(s_nodeAddresses.Where(_ => port.NodePort != 0).Select(a => (Address: a, Port: port.NodePort)))
        select new VirtualServerKey(port.Protocol, target.Address, target.Port);

    private static (string, string, IPAddress, IPAddress) Pod(string name, string node, string v4, string v6) =>
        (name, node, IPAddress.Parse(v4), IPAddress.Parse(v6));

    private static IPAddress[] Addresses(params string[] texts) => [.. texts.Select(IPAddress.Parse)];
}
