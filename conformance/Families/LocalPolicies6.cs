using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Families;

/// <summary>Traffic policies, source ranges and refusals of IPv6: its rules and sets are others than those of IPv4.</summary>
public sealed class LocalPolicies6 : ClusterFixture
{
    private const string ClientAddress = "fd00:113::50";
    private const string AddressOfNode1 = "fd00:113::101";

    [Test, Claim("FAMILY-16")]
    public async Task Local_ipv6_load_balancer_preserves_the_client_address() =>
        await (await Client.AskAsync(Port80(await ReachableAsync(await LoadBalancerAsync("web-a"), via: Node1))))
            .ShouldBeSeenByServerAsAsync(ClientAddress);

    [Test, Claim("FAMILY-17")]
    public async Task Local_ipv6_external_ip_preserves_the_client_address() =>
        await (await Client.AskAsync(Port80(await ReachableAsync(await ExternalIPAsync("web-a"), via: Node1))))
            .ShouldBeSeenByServerAsAsync(ClientAddress);

    [Test, Claim("FAMILY-18")]
    public async Task Pod_reaches_local_ipv6_load_balancer_from_a_node_without_an_endpoint() =>
        await (await PodA.AskAsync(Port80(await LoadBalancerAsync("web-b")))).ShouldBeAnsweredByAsync("web-b");

    [Test, Claim("FAMILY-19")]
    public async Task Pod_reaches_local_ipv6_external_ip_from_a_node_without_an_endpoint() =>
        await (await PodA.AskAsync(Port80(await ExternalIPAsync("web-b")))).ShouldBeAnsweredByAsync("web-b");

    [Test, Claim("FAMILY-20")]
    public async Task Node_without_an_endpoint_reaches_local_ipv6_load_balancer() =>
        await (await Node1.AskAsync(Port80(await LoadBalancerAsync("web-b")))).ShouldBeAnsweredByAsync("web-b");

    [Test, Claim("FAMILY-21")]
    public async Task Node_with_an_endpoint_reaches_local_ipv6_load_balancer_with_a_node_address() =>
        await (await Node1.AskAsync(Port80(await LoadBalancerAsync("web-a")))).ShouldBeSeenByServerAsAddressOfAsync("node1");

    [Test, Claim("FAMILY-22")]
    public async Task Node_with_an_endpoint_reaches_local_ipv6_external_ip_with_a_node_address() =>
        await (await Node1.AskAsync(Port80(await ExternalIPAsync("web-a")))).ShouldBeSeenByServerAsAddressOfAsync("node1");

    [Test, Claim("FAMILY-23")]
    public async Task External_connection_to_a_local_ipv6_node_port_survives_its_endpoint()
    {
        var service = await ApplyAsync(Local(WithNodePort(OverIPv6(NewService("web-a", "web-b")))));
        await using var flow = await Client.ConnectAsync($"[{AddressOfNode1}]:{service.NodePort}");
        await flow.ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(service with { Endpoints = ["web-b"] });

        await flow.ExchangeAsync(1000);
    }

    [Test, Claim("FAMILY-24")]
    public async Task Port_that_an_ipv6_service_does_not_have_is_refused()
    {
        var service = await ApplyAsync(OverIPv6(NewService("web-a")));

        await (await PodA.AskAsync(service.Target(81))).ShouldBeRefusedAsync();
    }

    [Test, Claim("FAMILY-25")]
    public async Task Ipv6_source_ranges_apply_to_nodes()
    {
        var (closed, open) = (await RangeAsync("2001:db8:ffff::/64"), await RangeAsync("fd00:113::/64"));

        await (await Node1.AskAsync(Port80(closed))).ShouldNotBeAnsweredAsync();
        await (await Node1.AskAsync(Port80(open))).ShouldBeAnsweredByAsync("web-a");

        async Task<string> RangeAsync(string range) => (await ApplyAsync(WithLoadBalancerV6(OverIPv6(NewService("web-a"))) with
        {
            SourceRanges = [range]
        })).LoadBalancerIPs[0];
    }

    [Test, Claim("FAMILY-26")]
    public async Task Masqueraded_ipv6_connection_does_not_keep_the_source_port()
    {
        const int count = 12;
        var service = await ApplyAsync(WithNodePort(OverIPv6(NewService("web-b"))));
        var kept = 0;
        for (var port = 21360; port < 21360 + count; port++)
        {
            var flow = await Client.AskAsync($"[{AddressOfNode1}]:{service.NodePort}", sourcePort: port);
            await flow.ShouldBeSeenByServerAsAddressOfAsync("node1");
            kept += flow.Answer!.SeenPeer.Port == port ? 1 : 0;
        }

        kept.ShouldBeLessThan(2, $"of {count} ports"); // ADDR-24 has the reason
    }

    [Test, Claim("FAMILY-27")]
    public async Task Outer_packet_of_a_masqueraded_ipv6_connection_is_not_masqueraded()
    {
        var service = await ApplyAsync(WithNodePort(OverIPv6(NewService("web-b"))));
        await (await Client.AskAsync($"[{AddressOfNode1}]:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");

        Overlay.ShouldNotMasquerade(Node1);
    }

    [Test, Claim("FAMILY-28")]
    public async Task Pod_of_another_node_reaches_local_ipv6_node_port_of_a_node_without_an_endpoint()
    {
        var service = await ApplyAsync(Local(WithNodePort(OverIPv6(NewService("web-b")))));

        await (await PodC.AskAsync($"[{AddressOfNode1}]:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    private static ServiceSpec Local(ServiceSpec service) => service with { ExternalTrafficPolicy = "Local" };

    private static string Port80(string address) => $"[{address}]:80";

    private async Task<string> LoadBalancerAsync(string pod) =>
        (await ApplyAsync(Local(WithLoadBalancerV6(OverIPv6(NewService(pod)))))).LoadBalancerIPs[0];

    private async Task<string> ExternalIPAsync(string pod)
    {
        var service = OverIPv6(NewService(pod));
        await ApplyAsync(Local(service with { ExternalIPs = [OutsideAddressV6(service)] }));
        return OutsideAddressV6(service);
    }
}
