using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>
/// Who reaches what, and which address the endpoint sees: every kind of client and every kind of address, with traffic
/// policy Cluster. Kubernetes documentation, "Using Source IP"; the service proxy specification asks for no rewriting
/// of the source but for hairpins and for what comes from outside and leaves for another node.
/// </summary>
public sealed class Source_addresses : ClusterFixture
{
    private const int VxlanPort = 8472;

    [Test, Claim("SM-1")]
    public Task A_pod_reaches_a_pod_of_its_node_through_a_cluster_ip_under_its_own_address() => SeenAsync(PodA, "web-a", seenAs: "pod-a");

    [Test, Claim("SM-2")]
    public Task A_pod_reaches_a_pod_of_another_node_through_a_cluster_ip_under_its_own_address() => SeenAsync(PodA, "web-b", seenAs: "pod-a");

    [Test, Claim("SM-3")]
    public Task A_node_reaches_a_pod_of_its_own_through_a_cluster_ip_under_an_address_of_the_node() => SeenAsync(Node1, "web-a", seenAs: "node1");

    [Test, Claim("SM-4")]
    public Task A_node_reaches_a_pod_of_another_node_through_a_cluster_ip_under_an_address_of_the_node() => SeenAsync(Node1, "web-b", seenAs: "node1");

    [Test, Claim("HP-1")]
    public async Task A_pod_reaches_itself_through_its_cluster_ip_under_an_address_of_the_node()
    {
        var service = await ApplyAsync(NewService("pod-b"));

        var flow = await Lab["pod-b"].AskAsync(service.Target());

        await flow.ShouldBeAnsweredByAsync("pod-b");
        await flow.ShouldBeSeenByServerAsAddressOfAsync("node1");
        await flow.ShouldBeSeenAsAsync(
            On("pod-b").Leaving.Syn(from: "pod-b", to: service.Target()),
            On("pod-b").Arriving.Syn(from: flow.Answer!.SeenPeer.Address.ToString(), to: "pod-b:8080"));
    }

    [Test, Claim("K-2")]
    public async Task A_client_outside_with_a_route_reaches_a_cluster_ip_under_an_address_of_the_node()
    {
        var service = await ApplyAsync(NewService("web-b"));
        await ReachableAsync(service.ClusterIPs[0], via: Node1);

        var flow = await Client.AskAsync(service.Target());

        await flow.ShouldBeAnsweredByAsync("web-b");
        await flow.ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("SM-5")]
    public Task Outside_reaches_a_pod_of_the_node_through_its_node_port_under_an_address_of_the_node() => ThroughNodePortAsync(Client, Node1, "web-a", seenAs: "node1");

    [Test, Claim("SM-6")]
    public Task Outside_reaches_a_pod_of_another_node_through_a_node_port_under_an_address_of_the_node_asked() => ThroughNodePortAsync(Client, Node1, "web-b", seenAs: "node1");

    [Test, Claim("SM-7")]
    public Task Every_node_serves_a_node_port() => ThroughNodePortAsync(Client, Node2, "web-a", seenAs: "node2");

    [Test, Claim("SM-8")]
    public Task A_pod_reaches_a_node_port_of_its_own_node() => ThroughNodePortAsync(PodA, Node1, "web-b");

    [Test, Claim("SM-9")]
    public Task A_pod_reaches_a_node_port_of_another_node() => ThroughNodePortAsync(PodA, Node2, "web-a");

    [Test, Claim("SM-10")]
    public Task A_node_reaches_a_node_port_of_its_own() => ThroughNodePortAsync(Node1, Node1, "web-b", seenAs: "node1");

    [Test, Claim("SM-11")]
    public Task A_node_reaches_a_node_port_of_another_node() => ThroughNodePortAsync(Node1, Node2, "web-b");

    [Test, Claim("SM-12")]
    public Task Outside_reaches_an_external_ip_under_an_address_of_the_node() => ThroughOutsideAddressAsync(Client, isLoadBalancer: false, "web-b", seenAs: "node1");

    [Test, Claim("SM-13")]
    public Task A_pod_reaches_an_external_ip() => ThroughOutsideAddressAsync(PodA, isLoadBalancer: false, "web-b");

    [Test, Claim("SM-14")]
    public Task A_node_reaches_an_external_ip() => ThroughOutsideAddressAsync(Node1, isLoadBalancer: false, "web-b", seenAs: "node1");

    [Test, Claim("SM-15")]
    public Task Outside_reaches_a_load_balancer_s_address_under_an_address_of_the_node() => ThroughOutsideAddressAsync(Client, isLoadBalancer: true, "web-b", seenAs: "node1");

    [Test, Claim("SM-16")]
    public Task A_pod_reaches_a_load_balancer_s_address_without_leaving_the_cluster() => ThroughOutsideAddressAsync(PodA, isLoadBalancer: true, "web-b");

    [Test, Claim("SM-17")]
    public Task A_node_reaches_a_load_balancer_s_address_without_leaving_the_cluster() => ThroughOutsideAddressAsync(Node1, isLoadBalancer: true, "web-b", seenAs: "node1");

    [Test, Claim("SM-106")]
    public Task Outside_reaches_a_pod_of_the_node_through_an_external_ip_under_an_address_of_the_node() => ThroughOutsideAddressAsync(Client, isLoadBalancer: false, "web-a", seenAs: "node1");

    [Test, Claim("SM-107")]
    public Task Outside_reaches_a_pod_of_the_node_through_a_load_balancer_s_address_under_an_address_of_the_node() => ThroughOutsideAddressAsync(Client, isLoadBalancer: true, "web-a", seenAs: "node1");

    [Test, Claim("SM-108")]
    public Task A_pod_reaches_itself_through_its_node_port_under_an_address_of_the_node() => ThroughNodePortAsync(Lab["pod-b"], Node1, "pod-b", seenAs: "node1");

    [Test, Claim("SM-109")]
    public Task A_pod_reaches_itself_through_its_external_ip_under_an_address_of_the_node() => ThroughOutsideAddressAsync(Lab["pod-b"], isLoadBalancer: false, "pod-b", seenAs: "node1");

    [Test, Claim("SM-110")]
    public Task A_pod_reaches_itself_through_its_load_balancer_s_address_under_an_address_of_the_node() => ThroughOutsideAddressAsync(Lab["pod-b"], isLoadBalancer: true, "pod-b", seenAs: "node1");

    [Test, Claim("NP-2")]
    public async Task A_service_with_a_node_port_has_a_cluster_ip_as_well()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        await (await PodA.AskAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
    }

    [Test, Claim("SM-125")]
    public async Task A_node_port_is_served_on_every_address_of_the_node()
    {
        Demand(ProxyFeature.Ipvs); // kube-proxy's nftables mode serves primary addresses alone by default
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        foreach (var address in Node1.Addresses.Where(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork))
            await (await PodA.AskAsync($"{address}:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-126")]
    public async Task A_masqueraded_connection_does_not_keep_its_client_s_port()
    {
        const int count = 12;
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        var kept = 0;
        for (var port = 21260; port < 21260 + count; port++)
        {
            var flow = await Client.AskAsync($"node1:{service.NodePort}", sourcePort: port);
            await flow.ShouldBeSeenByServerAsAddressOfAsync("node1");
            kept += flow.Answer!.SeenPeer.Port == port ? 1 : 0;
        }

        // By chance a port is kept once in tens of thousands; without --random-fully the kernel keeps each that is free (iptables-extensions(8), MASQUERADE).
        kept.ShouldBeLessThan(2, $"of {count} ports");
    }

    [Test, Claim("SM-127")]
    public async Task The_outer_packet_of_a_masqueraded_connection_is_not_masqueraded_again()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");

        // Its mark comes with it through the tunnel (kubernetes/kubernetes#88986).
        var outer = Node1.Conntrack().Where(e => e.Protocol == "udp" && e.Original.DestinationPort == VxlanPort && e.Original.Source.Equals(Node1.Address)).ToList();
        if (outer.Count == 0)
            Not.Testable("the overlay's packets are not tracked here");
        outer.ShouldAllBe(e => e.Reply.Destination.Equals(e.Original.Source) && e.Reply.DestinationPort == e.Original.SourcePort);
    }

    [Test, Claim("SM-128")]
    public async Task A_node_reaches_a_pod_under_its_own_address_whatever_services_there_are()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)], ClusterIPs = Has(ProxyFeature.IPv6) ? [service.ClusterIPs[0], AddressV6(service)] : service.ClusterIPs }, "LoadBalancer"));

        foreach (var pod in new[] { Lab["web-a"], Lab["web-b"] })
        {
            foreach (var address in pod.Spec.Interfaces[0].Addresses)
                await (await Node1.AskAsync(new System.Net.IPEndPoint(address, 8080).ToString())).ShouldBeSeenByServerAsAddressOfAsync("node1");
        }
    }

    private async Task SeenAsync(Node client, string pod, string seenAs)
    {
        var service = await ApplyAsync(NewService(pod));

        var flow = await client.AskAsync(service.Target());

        await flow.ShouldBeAnsweredByAsync(pod);
        await flow.ShouldBeSeenByServerAsAddressOfAsync(seenAs);
    }

    /// <param name="seenAs">The node or pod whose address the endpoint sees; null where the specification leaves room: that it is answered is what counts, and the record has the address.</param>
    private async Task ThroughNodePortAsync(Node client, Node asked, string pod, string? seenAs = null)
    {
        var service = await ApplyAsync(WithNodePort(NewService(pod)));

        var flow = await client.AskAsync($"{asked.Name}:{service.NodePort}");

        await flow.ShouldBeAnsweredByAsync(pod);
        if (seenAs is not null)
            await flow.ShouldBeSeenByServerAsAddressOfAsync(seenAs);
    }

    private async Task ThroughOutsideAddressAsync(Node client, bool isLoadBalancer, string pod, string? seenAs = null)
    {
        var service = NewService(pod);
        var address = OutsideAddress(service);
        await ApplyAsync(isLoadBalancer ? WithNodePort(service with { LoadBalancerIPs = [address] }, "LoadBalancer") : service with { ExternalIPs = [address] });
        if (client == Client)
            await ReachableAsync(address, via: Node1);

        var flow = await client.AskAsync($"{address}:80");

        await flow.ShouldBeAnsweredByAsync(pod);
        if (seenAs is not null)
            await flow.ShouldBeSeenByServerAsAddressOfAsync(seenAs);
        await flow.ShouldNotBeSeenAsync(On("node1").Leaving.Syn(to: $"{address}:80"));
    }
}
