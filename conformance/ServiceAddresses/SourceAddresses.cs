using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.ServiceAddresses;

/// <summary>
/// Who reaches what, and which address the endpoint sees: every kind of client and every kind of address, with traffic
/// policy Cluster. Kubernetes documentation, "Using Source IP"; the service proxy specification asks for no rewriting
/// of the source but for hairpins and for what comes from outside and leaves for another node.
/// </summary>
public sealed class SourceAddresses : ClusterFixture
{
    [Test, Claim("ADDR-1")]
    public Task Pod_reaches_pod_of_its_node_through_cluster_ip_with_its_own_address() => SeenAsync(PodA, "web-a", seenAs: "pod-a");

    [Test, Claim("ADDR-2")]
    public Task Pod_reaches_pod_of_another_node_through_cluster_ip_with_its_own_address() => SeenAsync(PodA, "web-b", seenAs: "pod-a");

    [Test, Claim("ADDR-3")]
    public Task Node_reaches_its_own_pod_through_cluster_ip_with_a_node_address() => SeenAsync(Node1, "web-a", seenAs: "node1");

    [Test, Claim("ADDR-4")]
    public Task Node_reaches_pod_of_another_node_through_cluster_ip_with_a_node_address() => SeenAsync(Node1, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-5")]
    public Task Client_reaches_pod_of_the_node_through_node_port_with_a_node_address() =>
        ThroughNodePortAsync(Client, Node1, "web-a", seenAs: "node1");

    [Test, Claim("ADDR-6")]
    public Task Client_reaches_pod_of_another_node_through_node_port_with_a_node_address() =>
        ThroughNodePortAsync(Client, Node1, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-9")]
    public Task Every_node_serves_a_node_port() => ThroughNodePortAsync(Client, Node2, "web-a", seenAs: "node2");

    [Test, Claim("ADDR-10")]
    public Task Pod_reaches_node_port_of_its_own_node() => ThroughNodePortAsync(PodA, Node1, "web-b");

    [Test, Claim("ADDR-11")]
    public Task Pod_reaches_node_port_of_another_node() => ThroughNodePortAsync(PodA, Node2, "web-a");

    [Test, Claim("ADDR-12")]
    public Task Node_reaches_its_own_node_port() => ThroughNodePortAsync(Node1, Node1, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-13")]
    public Task Node_reaches_node_port_of_another_node() => ThroughNodePortAsync(Node1, Node2, "web-b");

    [Test, Claim("ADDR-14")]
    public Task Client_reaches_external_ip_with_a_node_address() =>
        ThroughOutsideAddressAsync(Client, isLoadBalancer: false, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-15")]
    public Task Pod_reaches_external_ip_without_leaving_the_cluster() => ThroughOutsideAddressAsync(PodA, isLoadBalancer: false, "web-b");

    [Test, Claim("ADDR-16")]
    public Task Node_reaches_external_ip_without_leaving_the_cluster() =>
        ThroughOutsideAddressAsync(Node1, isLoadBalancer: false, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-17")]
    public Task Client_reaches_load_balancer_with_a_node_address() =>
        ThroughOutsideAddressAsync(Client, isLoadBalancer: true, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-18")]
    public Task Pod_reaches_load_balancer_without_leaving_the_cluster() => ThroughOutsideAddressAsync(PodA, isLoadBalancer: true, "web-b");

    [Test, Claim("ADDR-19")]
    public Task Node_reaches_load_balancer_without_leaving_the_cluster() =>
        ThroughOutsideAddressAsync(Node1, isLoadBalancer: true, "web-b", seenAs: "node1");

    [Test, Claim("ADDR-7")]
    public Task Client_reaches_pod_of_the_node_through_external_ip_with_a_node_address() =>
        ThroughOutsideAddressAsync(Client, isLoadBalancer: false, "web-a", seenAs: "node1");

    [Test, Claim("ADDR-8")]
    public Task Client_reaches_pod_of_the_node_through_load_balancer_with_a_node_address() =>
        ThroughOutsideAddressAsync(Client, isLoadBalancer: true, "web-a", seenAs: "node1");

    [Test, Claim("ADDR-20")]
    public Task Pod_reaches_itself_through_node_port_with_a_node_address() =>
        ThroughNodePortAsync(Lab["pod-b"], Node1, "pod-b", seenAs: "node1");

    [Test, Claim("ADDR-21")]
    public Task Pod_reaches_itself_through_external_ip_with_a_node_address() =>
        ThroughOutsideAddressAsync(Lab["pod-b"], isLoadBalancer: false, "pod-b", seenAs: "node1");

    [Test, Claim("ADDR-22")]
    public Task Pod_reaches_itself_through_load_balancer_with_a_node_address() =>
        ThroughOutsideAddressAsync(Lab["pod-b"], isLoadBalancer: true, "pod-b", seenAs: "node1");

    [Test, Claim("ADDR-23")]
    public async Task Node_port_is_served_on_every_address_of_the_node()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        foreach (var address in Node1.Addresses.Where(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork))
            await (await PodA.AskAsync($"{address}:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("ADDR-24")]
    public async Task Masqueraded_connection_does_not_keep_the_source_port()
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

        // By chance a port is kept once in tens of thousands; without --random-fully the kernel keeps each that is free
        // (iptables-extensions(8), MASQUERADE).
        kept.ShouldBeLessThan(2, $"of {count} ports");
    }

    [Test, Claim("ADDR-25")]
    public async Task Outer_packet_of_a_masqueraded_connection_is_not_masqueraded_again()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");

        Overlay.ShouldNotMasquerade(Node1);
    }

    [Test, Claim("ADDR-26")]
    public async Task Node_reaches_pod_directly_with_a_node_address()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithNodePort(service with
        {
            LoadBalancerIPs = [OutsideAddress(service)],
            ClusterIPs = Has(ProxyFeature.IPv6)
            ? [service.ClusterIPs[0], AddressV6(service)] : service.ClusterIPs
        }, "LoadBalancer"));

        foreach (var pod in new[] { Lab["web-a"], Lab["web-b"] })
        {
            foreach (var address in pod.Spec.Interfaces[0].Addresses)
                await (await Node1.AskAsync(new System.Net.IPEndPoint(address, 8080).ToString()))
                    .ShouldBeSeenByServerAsAddressOfAsync("node1");
        }
    }

    [Test, Claim("ADDR-28")]
    public Task Endpoint_reaches_another_pod_through_cluster_ip_with_its_own_address() => SeenAsync(Lab["web-a"], "web-b", seenAs: "web-a");

    private async Task SeenAsync(Node client, string pod, string seenAs)
    {
        var service = await ApplyAsync(NewService(pod));

        var flow = await client.AskAsync(service.Target());

        await flow.ShouldBeAnsweredByAsync(pod);
        await flow.ShouldBeSeenByServerAsAddressOfAsync(seenAs);
    }

    /// <param name="seenAs">The node or pod whose address the endpoint sees; null where the specification leaves room: that it is answered
    /// is what counts, and the record has the address.</param>
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
        await ApplyAsync(isLoadBalancer ? WithNodePort(service with { LoadBalancerIPs = [address] }, "LoadBalancer")
            : service with { ExternalIPs = [address] });
        if (client == Client)
            await ReachableAsync(address, via: Node1);

        var flow = await client.AskAsync($"{address}:80");

        await flow.ShouldBeAnsweredByAsync(pod);
        if (seenAs is not null)
            await flow.ShouldBeSeenByServerAsAddressOfAsync(seenAs);
        await flow.ShouldNotBeSeenAsync(On("node1").Leaving.Syn(to: $"{address}:80"));
    }
}
