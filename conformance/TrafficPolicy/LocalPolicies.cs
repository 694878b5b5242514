using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.TrafficPolicy;

/// <summary>
/// externalTrafficPolicy and internalTrafficPolicy Local (KEP-1138, KEP-2086): only endpoints of the node, whose clients
/// keep their addresses; without one, traffic from outside is dropped and traffic from inside refused, but pods and nodes
/// reach external addresses all the same.
/// </summary>
public sealed class LocalPolicies : ClusterFixture
{
    [Test, Claim("POLICY-1")]
    public async Task Local_node_port_preserves_the_client_address()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-a"))));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("POLICY-2")]
    public async Task Local_load_balancer_preserves_the_client_address()
    {
        var (_, address) = await LoadBalancerAsync("web-a");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("POLICY-3")]
    public async Task Local_external_ip_preserves_the_client_address()
    {
        var address = await ExternalIPAsync("web-a");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeSeenByServerAsAsync("client");
    }

    [Test, Claim("POLICY-4")]
    public async Task Client_reaches_only_endpoints_of_the_contacted_node()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-a", "web-b"))));

        (await Client.AskManyAsync($"node1:{service.NodePort}", 20))
            .ShouldBe(new Dictionary<string, int>(StringComparer.Ordinal) { ["web-a"] = 20 });
    }

    [Test, Claim("POLICY-5")]
    public async Task Pod_reaches_local_load_balancer_from_a_node_without_an_endpoint()
    {
        var (_, address) = await LoadBalancerAsync("web-b");

        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-6")]
    public async Task Node_without_an_endpoint_reaches_local_load_balancer()
    {
        var (_, address) = await LoadBalancerAsync("web-b");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-7")]
    public async Task Pod_reaches_local_external_ip_from_a_node_without_an_endpoint()
    {
        var address = await ExternalIPAsync("web-b");

        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-8")]
    public async Task Cluster_ip_is_independent_of_the_external_policy()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-b"))));

        await (await PodA.AskAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
    }

    [Test, Claim("POLICY-9")]
    public async Task Local_node_port_without_an_endpoint_drops_external_traffic()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-b"))));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeMetWithSilenceAsync();
        await (await Client.AskAsync($"node2:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-10")]
    public async Task Local_load_balancer_without_an_endpoint_drops_external_traffic()
    {
        var (_, address) = await LoadBalancerAsync("web-b");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("POLICY-11")]
    public async Task Local_external_ip_without_an_endpoint_drops_external_traffic()
    {
        var address = await ExternalIPAsync("web-b");

        await (await Client.AskAsync($"{await ReachableAsync(address, via: Node1)}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("POLICY-12")]
    public async Task Internal_policy_local_keeps_a_pod_on_its_node()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b") with { InternalTrafficPolicy = "Local" });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("POLICY-13")]
    public async Task Internal_policy_local_turns_a_pod_without_a_local_endpoint_away()
    {
        var service = await ApplyAsync(NewService("web-b") with { InternalTrafficPolicy = "Local" });

        await ShouldBeTurnedAwayAsync(await PodA.AskAsync(service.Target()), ProxyFeature.RefusesWithoutLocalEndpoint);
        await (await PodC.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-14")]
    public async Task Internal_policy_local_turns_a_node_without_an_endpoint_away()
    {
        var service = await ApplyAsync(NewService("web-b") with { InternalTrafficPolicy = "Local" });

        await ShouldBeTurnedAwayAsync(await Node1.AskAsync(service.Target()), ProxyFeature.RefusesWithoutLocalEndpoint);
    }

    [Test, Claim("POLICY-15")]
    public async Task Internal_policy_does_not_affect_external_traffic()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { InternalTrafficPolicy = "Local" }));

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-16")]
    public async Task Cluster_ip_of_a_node_port_service_follows_the_internal_policy()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b") with { InternalTrafficPolicy = "Local" }));

        await ShouldBeTurnedAwayAsync(await PodA.AskAsync(service.Target()), ProxyFeature.RefusesWithoutLocalEndpoint);
    }

    [Test, Claim("POLICY-17")]
    public async Task Node_with_an_endpoint_reaches_local_load_balancer_with_a_node_address()
    {
        var (_, address) = await LoadBalancerAsync("web-a");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("POLICY-18")]
    public async Task Node_with_an_endpoint_reaches_local_external_ip_with_a_node_address()
    {
        var address = await ExternalIPAsync("web-a");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeSeenByServerAsAddressOfAsync("node1");
    }

    [Test, Claim("POLICY-19")]
    public async Task Node_without_an_endpoint_reaches_local_external_ip()
    {
        var address = await ExternalIPAsync("web-b");

        await (await Node1.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-b");
    }

    [Test, Claim("POLICY-20")]
    public async Task Pod_of_another_node_reaches_local_node_port_of_a_node_without_an_endpoint()
    {
        var service = await ApplyAsync(Local(WithNodePort(NewService("web-b"))));

        await (await PodC.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
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
