using Conformance.Clusters.Proxies;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>loadBalancerSourceRanges: who may use a load balancer's address (API reference, ServiceSpec).</summary>
public sealed class Source_ranges : ClusterFixture
{
    [Test, Claim("SM-34")]
    public async Task Who_is_in_a_range_is_let_in()
    {
        var address = await LoadBalancerAsync("192.168.113.0/24");

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-35")]
    public async Task Who_is_in_no_range_is_dropped()
    {
        var address = await LoadBalancerAsync("198.51.100.0/24");

        await (await Client.AskAsync($"{address}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("SM-36")]
    public async Task The_range_of_everybody_lets_everybody_in()
    {
        var address = await LoadBalancerAsync("0.0.0.0/0");

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-37")]
    public async Task Of_several_ranges_one_is_enough()
    {
        var address = await LoadBalancerAsync("198.51.100.0/24", "192.168.113.50/32");

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-38")]
    public async Task Ranges_do_not_close_the_cluster_ip_or_the_node_port()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service) with { SourceRanges = ["198.51.100.0/24"] });

        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-39")]
    public async Task A_node_outside_every_range_is_dropped_and_one_inside_is_let_in()
    {
        var (closed, open) = (await LoadBalancerAsync("198.51.100.0/24"), await LoadBalancerAsync("192.168.113.0/24"));

        await (await Node1.AskAsync($"{closed}:80")).ShouldNotBeAnsweredAsync();
        await (await Node1.AskAsync($"{open}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-111")]
    public async Task A_pod_in_a_range_is_let_in_and_one_in_none_is_not()
    {
        var (first, second) = (await LoadBalancerAsync("10.244.0.0/24"), await LoadBalancerAsync("10.244.1.0/24"));

        await (await PodA.AskAsync($"{first}:80")).ShouldBeAnsweredByAsync("web-a");
        await (await PodC.AskAsync($"{second}:80")).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskAsync($"{second}:80")).ShouldNotBeAnsweredAsync();
        await (await PodC.AskAsync($"{first}:80")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("SM-158")]
    public async Task Ranges_of_one_family_leave_the_other_family_open_to_everybody()
    {
        Demand(ProxyFeature.IPv6);
        var service = NewService("web-a");
        service = service with { ClusterIPs = [service.ClusterIPs[0], AddressV6(service)], SourceRanges = ["198.51.100.0/24"] };
        var address = $"2001:db8:8::{service.Name["test-".Length..]}";
        await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service), address] }, "LoadBalancer"));

        await (await Client.AskAsync($"{await ReachableAsync(OutsideAddress(service), via: Node1)}:80")).ShouldBeMetWithSilenceAsync();
        await (await Client.AskAsync($"[{await ReachableAsync(address, via: Node1)}]:80")).ShouldBeAnsweredByAsync("web-a");
    }

    private async Task<string> LoadBalancerAsync(params string[] ranges)
    {
        var service = NewService("web-a");
        await ApplyAsync(WithLoadBalancer(service) with { SourceRanges = ranges });
        return await ReachableAsync(OutsideAddress(service), via: Node1);
    }
}
