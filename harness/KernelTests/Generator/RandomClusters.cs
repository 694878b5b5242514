using System.Net;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using FsCheck;
using FsCheck.Fluent;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// Random objects out of small pools, so that Services dispute addresses, ports and node ports, share endpoints, and
/// come and go from one cluster to the next.
/// </summary>
internal static class RandomClusters
{
    private static readonly IPAddress[] s_clusterIPs = Addresses("10.96.0.1", "10.96.0.2", "10.96.0.3", "fd00:96::1", "fd00:96::2");
    private static readonly IPAddress[] s_externalIPs = Addresses("203.0.113.1", "203.0.113.2", "192.168.113.101", "2001:db8::1");
    private static readonly IPAddress[] s_endpoints = Addresses("10.244.0.11", "10.244.0.12", "10.244.1.21", "10.244.1.22",
        "fd00:10:244::11", "fd00:10:244::21");
    private static readonly IPNetwork[] s_ranges = [IPNetwork.Parse("0.0.0.0/0"), IPNetwork.Parse("192.168.113.0/24"),
        IPNetwork.Parse("192.168.113.101/32"), IPNetwork.Parse("::/0")];

    internal static Gen<Cluster> Cluster { get; } =
        from names in Gen.SubListOf("a", "b", "c", "d", "e")
        from services in Gen.CollectToList(names, Service)
        from slices in Gen.CollectToList(names, name => Gen.CollectToList(new[] { false, true }, ipv6 => Slice(name, ipv6)))
        select Of(services, slices.SelectMany(s => s));

    private static Gen<Service> Service(string name) =>
        from clusterIPs in SomeOf(s_clusterIPs)
        from externalIPs in Gen.SubListOf(s_externalIPs)
        from loadBalancerIPs in Gen.SubListOf(s_externalIPs)
        from ranges in Gen.SubListOf(s_ranges)
        from ports in SomeOf("http", "dns", "sctp")
        from nodePort in Gen.Elements(0, 0, 30080, 30081)
        from flags in Gen.ArrayOf(Gen.Elements(false, true), 5)
        from affinity in Gen.Elements(0, 0, 60, 10800)
        from scheduler in Gen.Elements<string?>(null, null, "lc", "mh", "sh")
        from created in Gen.Choose(0, 3)
        select new Service
        {
            Name = new ObjectName("default", name),
            CreatedAt = DateTimeOffset.UnixEpoch.AddDays(created),
            IsProxied = flags[0] || flags[1],
            IsLoadBalancer = loadBalancerIPs.Count > 0,
            AcceptsExternalTraffic = true,
            ClusterIPs = [.. clusterIPs],
            ExternalIPs = [.. externalIPs],
            LoadBalancerIPs = [.. loadBalancerIPs],
            LoadBalancerSourceRanges = [.. ranges],
            Ports = [.. ports.Select(p => Port(p, nodePort))],
            ExternalPolicyIsLocal = flags[2],
            InternalPolicyIsLocal = flags[3],
            HealthCheckNodePort = flags[2] && flags[4] ? (ushort)32000 : (ushort)0,
            AffinitySeconds = affinity,
            Scheduler = scheduler,
        };

    private static Gen<List<T>> SomeOf<T>(params T[] pool) => Gen.SubListOf(pool).Where(list => list.Count > 0);

    private static ServicePort Port(string name, int nodePort) => name switch
    {
        "dns" => new ServicePort(name, TransportProtocol.Udp, 53, (ushort)nodePort),
        "sctp" => new ServicePort(name, TransportProtocol.Sctp, 80, (ushort)nodePort),
        _ => new ServicePort(name, TransportProtocol.Tcp, 80, (ushort)nodePort),
    };

    private static Gen<EndpointSlice> Slice(string service, bool ipv6) =>
        from addresses in Gen.SubListOf(
            s_endpoints.Where(a => a.AddressFamily == (ipv6 ? System.Net.Sockets.AddressFamily.InterNetworkV6
            : System.Net.Sockets.AddressFamily.InterNetwork)))
        from conditions in Gen.ArrayOf(Gen.Elements("ready", "ready", "terminating", "unready"), s_endpoints.Length)
        select new EndpointSlice(
            new ObjectName("default", $"{service}-{(ipv6 ? 6 : 4)}"), new ObjectName("default", service), ipv6,
            [new SlicePort("http", TransportProtocol.Tcp, 8080), new SlicePort("dns", TransportProtocol.Udp, 5353),
                new SlicePort("sctp", TransportProtocol.Sctp, 8081)],
            [.. addresses.Select((a, i) => new Endpoint(a, conditions[i] == "ready", conditions[i] != "unready",
                conditions[i] == "terminating", a.ToString().Contains("244.0", StringComparison.Ordinal) ? "node1" : "node2", null))]);

    private static Cluster Of(IEnumerable<Service> services, IEnumerable<EndpointSlice> slices)
    {
        var cluster = new Cluster();
        foreach (var service in services)
            cluster.Put(service);
        foreach (var slice in slices)
            cluster.Put(slice);
        return cluster;
    }

    private static IPAddress[] Addresses(params string[] texts) => [.. texts.Select(IPAddress.Parse)];
}
