using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>
/// externalTrafficPolicy and internalTrafficPolicy Local (KEP-1138, KEP-2086): only endpoints of the node, whose clients
/// keep their addresses; without one, traffic from outside is dropped and traffic from inside refused, but pods and nodes
/// reach external addresses all the same.
/// </summary>
public sealed class Local_traffic_policies : ClusterFixture
{
    [Test, Claim("SM-18")]
    public async Task Outside_keeps_its_address_through_a_local_node_port()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-a"))));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("SM-19")]
    public async Task Outside_keeps_its_address_through_a_local_load_balancer()
    {
        var (_, address) = await LoadBalancerAsync("web-a");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("SM-20")]
    public async Task Outside_keeps_its_address_through_a_local_external_ip()
    {
        var address = await ExternalIPAsync("web-a");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("SM-21")]
    public async Task Outside_reaches_only_endpoints_of_the_node_that_it_asks()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-a", "web-b"))));

        (await Client.AskManyAsync($"node1:{service.NodePort}", 20)).ShouldBe(new Dictionary<string, int>(StringComparer.Ordinal) { ["web-a"] = 20 });
    }

    [Test, Claim("SM-22")]
    public async Task A_pod_reaches_a_local_load_balancer_from_a_node_without_an_endpoint()
    {
        var (_, address) = await LoadBalancerAsync("web-b");

        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-23")]
    public async Task A_node_reaches_a_local_load_balancer_without_an_endpoint_of_its_own()
    {
        var (_, address) = await LoadBalancerAsync("web-b");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-24")]
    public async Task A_pod_reaches_a_local_external_ip_from_a_node_without_an_endpoint()
    {
        var address = await ExternalIPAsync("web-b");

        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-25")]
    public async Task A_cluster_ip_does_not_care_for_the_external_policy()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-b"))));

        await (await PodA.AskAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
    }

    [Test, Claim("SM-26")]
    public async Task Outside_is_dropped_at_a_local_node_port_without_an_endpoint()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-b"))));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeMetWithSilenceAsync();
        await (await Client.AskAsync($"node2:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-27")]
    public async Task Outside_is_dropped_at_a_local_load_balancer_without_an_endpoint()
    {
        var (_, address) = await LoadBalancerAsync("web-b");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("SM-28")]
    public async Task Outside_is_dropped_at_a_local_external_ip_without_an_endpoint()
    {
        var address = await ExternalIPAsync("web-b");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("SM-29")]
    public async Task With_a_local_internal_policy_a_pod_reaches_only_endpoints_of_its_node()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b") with { InternalTrafficPolicy = "Local" });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("SM-30")]
    public async Task With_a_local_internal_policy_a_pod_without_an_endpoint_on_its_node_is_refused()
    {
        var service = await ApplyAsync(NewService("web-b") with { InternalTrafficPolicy = "Local" });

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
        await (await PodC.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-31")]
    public async Task With_a_local_internal_policy_a_node_without_an_endpoint_is_refused()
    {
        var service = await ApplyAsync(NewService("web-b") with { InternalTrafficPolicy = "Local" });

        await (await Node1.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-32")]
    public async Task The_internal_policy_does_not_touch_traffic_from_outside()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { InternalTrafficPolicy = "Local" }));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("SM-33")]
    public async Task A_node_port_s_cluster_ip_follows_the_internal_policy_as_well()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { InternalTrafficPolicy = "Local" }));

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-142")]
    public async Task A_node_reaches_a_local_load_balancer_with_an_endpoint_under_its_own_address()
    {
        var (_, address) = await LoadBalancerAsync("web-a");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("SM-143")]
    public async Task A_node_reaches_a_local_external_ip_with_an_endpoint_under_its_own_address()
    {
        var address = await ExternalIPAsync("web-a");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("SM-144")]
    public async Task A_node_reaches_a_local_external_ip_without_an_endpoint_of_its_own()
    {
        var address = await ExternalIPAsync("web-b");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    private static ServiceSpec Local(ServiceSpec service) => service with { ExternalTrafficPolicy = "Local" };

    private async Task<(ServiceSpec Service, string Address)> LoadBalancerAsync(string pod)
    {
        var service = NewService(pod);
        return (await ApplyAsync(Local(WithLoadBalancer(service))), OutsideAddress(service));
    }

    private async Task<string> ExternalIPAsync(string pod)
    {
        var service = NewService(pod);
        await ApplyAsync(Local(service with { ExternalIPs = [OutsideAddress(service)] }));
        return OutsideAddress(service);
    }
}
