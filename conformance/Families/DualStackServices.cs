using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Families;

/// <summary>IPv6, and Services of both families (KEP-563).</summary>
public sealed class DualStackServices : ClusterFixture
{
    [Test, Claim("FAMILY-1")]
    public async Task Pod_reaches_ipv6_cluster_ip_with_its_own_address()
    {
        var service = await V6Async("web-b");

        await (await PodA.AskAsync(service.Target())).ShouldBeSeenByServerAsAsync(Lab["pod-a"].Spec.Interfaces[0].Address6!.ToString());
    }

    [Test, Claim("FAMILY-2")]
    public async Task Node_reaches_ipv6_cluster_ip_with_a_node_address()
    {
        var service = await V6Async("web-a");

        await (await Node1.AskAsync(service.Target())).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("FAMILY-3")]
    public async Task Pod_reaches_itself_through_its_ipv6_cluster_ip()
    {
        var service = await V6Async("pod-b");

        await (await Lab["pod-b"].AskAsync(service.Target())).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("FAMILY-4")]
    public async Task Client_reaches_ipv6_node_port_with_a_node_address()
    {
        var service = await ApplyAsync(WithNodePort(V6("web-b")));

        await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("FAMILY-5")]
    public async Task Local_ipv6_node_port_preserves_the_client_address()
    {
        var service = await ApplyAsync(WithNodePort(V6("web-a")) with { ExternalTrafficPolicy = "Local" });

        await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeSeenByServerAsAsync("fd00:113::50");
    }

    [Test, Claim("FAMILY-6")]
    public async Task Ipv6_cluster_ip_without_endpoints_refuses()
    {
        var service = await V6Async();

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("FAMILY-7")]
    public async Task Dual_stack_service_is_served_in_both_families()
    {
        var service = NewService("web-b");
        service = await ApplyAsync(OverBoth(service));

        await (await PodA.AskAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
        await (await PodA.AskAsync($"[{service.ClusterIPs[1]}]:80"))
            .ShouldBeSeenByServerAsAsync(Lab["pod-a"].Spec.Interfaces[0].Address6!.ToString());
    }

    [Test, Claim("FAMILY-8")]
    public async Task Local_ipv6_node_port_without_an_endpoint_drops_external_traffic()
    {
        var service = await ApplyAsync(WithNodePort(V6("web-b")) with { ExternalTrafficPolicy = "Local" });

        await (await Client.AskAsync($"[fd00:113::101]:{service.NodePort}")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("FAMILY-9")]
    public async Task Ipv6_source_ranges_accept_and_drop()
    {
        var open = await LoadBalancerAsync("fd00:113::/64");
        var closed = await LoadBalancerAsync("2001:db8:ffff::/64");

        await (await Client.AskAsync($"[{await ReachableAsync(open.LoadBalancerIPs[0], via: Node1)}]:80")).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"[{await ReachableAsync(closed.LoadBalancerIPs[0], via: Node1)}]:80")).ShouldBeMetWithSilenceAsync();
        // ranges are the load balancer's
        await (await Client.AskAsync($"[fd00:113::101]:{closed.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        Task<ServiceSpec> LoadBalancerAsync(string range) => ApplyAsync(WithLoadBalancerV6(V6("web-a")) with { SourceRanges = [range] });
    }

    [Test, Claim("FAMILY-10")]
    public async Task Socket_of_the_node_is_not_reached_through_an_ipv6_cluster_ip()
    {
        var service = await V6Async("web-a");
        Node1.Serve(TransportProtocol.Tcp, 7119);
        await (await PodA.AskAsync("[fd00:113::101]:7119")).ShouldBeAnsweredByAsync("node1");
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await (await PodA.AskAsync(service.Target(7119))).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("FAMILY-11")]
    public async Task Socket_of_the_node_is_not_reached_through_an_ipv6_load_balancer()
    {
        var address = await OutsideV6Async(isLoadBalancer: true, "web-a");
        Node1.Serve(TransportProtocol.Tcp, 7120);
        await (await Client.AskAsync("[fd00:113::101]:7120")).ShouldBeAnsweredByAsync("node1");
        await (await Client.AskAsync($"[{address}]:80")).ShouldBeAnsweredByAsync("web-a");

        await (await Client.AskAsync($"[{address}]:7120")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("FAMILY-12")]
    public async Task Client_reaches_ipv6_external_ip_with_a_node_address()
    {
        var address = await OutsideV6Async(isLoadBalancer: false, "web-b");

        await (await Client.AskAsync($"[{address}]:80")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("FAMILY-13")]
    public async Task Client_reaches_ipv6_load_balancer_with_a_node_address()
    {
        var address = await OutsideV6Async(isLoadBalancer: true, "web-b");

        await (await Client.AskAsync($"[{address}]:80")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("FAMILY-14")]
    public async Task Udp_client_reaches_a_first_ipv6_endpoint_from_the_same_port()
    {
        var service = WithNodePort(V6("web-b") with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] });
        await (await Client.AskUdpAsync($"[fd00:113::101]:{service.NodePort}", sourcePort: 20123)).ShouldNotBeAnsweredAsync();

        await ApplyAsync(service);

        await (await Client.AskUdpAsync($"[fd00:113::101]:{service.NodePort}", sourcePort: 20123)).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("FAMILY-15")]
    public async Task Udp_client_reaches_another_ipv6_endpoint_when_its_own_is_removed()
    {
        var service = await ApplyAsync(V6("web-a") with { Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)] });
        await (await PodA.AskUdpAsync(service.Target(), sourcePort: 20124)).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await (await PodA.AskUdpAsync(service.Target(), sourcePort: 20124)).ShouldBeAnsweredByAsync("web-b");
    }

    /// <summary>Makes a Service with an address for the outside, to which the client's way is node1.</summary>
    private async Task<string> OutsideV6Async(bool isLoadBalancer, string pod)
    {
        var service = V6(pod);
        await ApplyAsync(isLoadBalancer ? WithLoadBalancerV6(service) : service with { ExternalIPs = [OutsideAddressV6(service)] });
        return await ReachableAsync(OutsideAddressV6(service), via: Node1);
    }

    private static ServiceSpec V6(params EndpointSpec[] endpoints) => OverIPv6(NewService(endpoints));

    private Task<ServiceSpec> V6Async(params EndpointSpec[] endpoints) => ApplyAsync(V6(endpoints));
}
