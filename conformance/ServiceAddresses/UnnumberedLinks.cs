using System.Net;
using Conformance.Clusters;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.ServiceAddresses;

/// <summary>
/// Services on nodes whose links have no addresses: then the kernel looks for a source among all devices of the node, and may find an
/// address of a Service (kubernetes/kubernetes#89898).
/// </summary>
[TestFixture("cluster-routed")]
[TestFixture("cluster-unnumbered")]
public sealed class UnnumberedLinks(string topology) : ClusterFixture
{
    /// <summary>These topologies show each claim in both families, whatever its row needs elsewhere.</summary>
    [SetUp]
    public void DemandIPv6() => Demand(ProxyFeature.IPv6);

    protected override string Topology => topology;

    [Test, Claim("ADDR-17")]
    public async Task Client_reaches_a_load_balancer_address()
    {
        var service = NewService("web-b");
        await ApplyAsync(WithLoadBalancer(service));

        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80"))
            .ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("FAMILY-2")]
    public async Task A_node_reaches_an_ipv6_cluster_ip()
    {
        foreach (var pod in new[] { "web-a", "web-b" })
        {
            var service = NewService(pod);
            service = await ApplyAsync(OverIPv6(service));

            await (await Node1.AskAsync(service.Target())).ShouldBeSeenByServerAsAddressOfAsync("node1");
        }
    }

    [Test, Claim("FAMILY-4")]
    public async Task Outside_reaches_an_ipv6_node_port()
    {
        var service = NewService("web-b");
        service = await ApplyAsync(WithNodePort(OverIPv6(service)));

        await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("PORT-7"), Requires(Feature.Sctp)]
    public async Task Outside_reaches_a_node_port_over_sctp()
    {
        Lab["web-b"].Serve(TransportProtocol.Sctp, 9191);
        var service = WithNodePort(NewService("web-b"));
        service = await ApplyAsync(
            service with { Ports = [service.Ports[0] with { Protocol = TransportProtocol.Sctp, TargetPort = 9191 }] });

        await (await Client.AskSctpAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("ADDR-26")]
    public async Task A_node_reaches_a_pod_itself()
    {
        await ReachesPodsAsync();
        var service = NewService("web-a");
        await ApplyAsync(WithNodePort(service with
        {
            LoadBalancerIPs = [OutsideAddress(service)],
            ClusterIPs = [service.ClusterIPs[0], AddressV6(service)]
        }, "LoadBalancer"));
        await ReachesPodsAsync();
    }

    private async Task ReachesPodsAsync()
    {
        foreach (var address in new[] { Lab["web-a"], Lab["web-b"] }.SelectMany(p => p.Spec.Interfaces[0].Addresses))
            await (await Node1.AskAsync(new IPEndPoint(address, 8080).ToString())).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }
}

/// <summary>
/// The node's address moves to a device that is younger than the proxy's: among devices the kernel takes the oldest first.
/// </summary>
[Parallelizable(ParallelScope.Self)]
public sealed class YoungerDevices : ClusterFixture
{
    private static readonly string[] s_addresses = ["192.168.113.101/32", "fd00:113::101/128"];

    protected override string Topology => "cluster-unnumbered";

    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("ADDR-27")]
    public async Task A_node_whose_address_came_after_the_services_reaches_pods_under_it()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithNodePort(service with
        {
            LoadBalancerIPs = [OutsideAddress(service)],
            ClusterIPs = [service.ClusterIPs[0], AddressV6(service)]
        }, "LoadBalancer"));
        await Node1.RunAsync("ip link add younger0 type dummy");
        await Node1.RunAsync("ip link set younger0 up");
        foreach (var address in s_addresses)
        {
            await Node1.RunAsync($"ip address delete {address} dev lo");
            await Node1.RunAsync($"ip address add {address} dev younger0 nodad");
        }
        Undo(async () =>
        {
            foreach (var address in s_addresses)
                await Node1.RunAsync($"ip address add {address} dev lo nodad");
            await Node1.RunAsync("ip link delete younger0");
        });
        await Cluster.SettleAsync(); // a proxy may have something to do about it
        foreach (var address in Lab["web-a"].Spec.Interfaces[0].Addresses)
            await (await Node1.AskAsync(new IPEndPoint(address, 8080).ToString())).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }
}
