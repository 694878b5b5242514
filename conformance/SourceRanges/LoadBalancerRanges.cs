using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.SourceRanges;

/// <summary>loadBalancerSourceRanges: who may use a load balancer's address (API reference, ServiceSpec).</summary>
public sealed class LoadBalancerRanges : ClusterFixture
{
    [Test, Claim("RANGE-1")]
    public async Task Client_inside_a_source_range_is_accepted()
    {
        var address = await LoadBalancerAsync("192.168.113.0/24");

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RANGE-2")]
    public async Task Client_outside_every_source_range_is_dropped()
    {
        var address = await LoadBalancerAsync("198.51.100.0/24");

        await (await Client.AskAsync($"{address}:80")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("RANGE-3")]
    public async Task Source_range_of_all_addresses_accepts_every_client()
    {
        var address = await LoadBalancerAsync("0.0.0.0/0");

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RANGE-4")]
    public async Task Client_inside_one_of_several_source_ranges_is_accepted()
    {
        var address = await LoadBalancerAsync("198.51.100.0/24", "192.168.113.50/32");

        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RANGE-5")]
    public async Task Source_ranges_do_not_restrict_cluster_ip_and_node_port()
    {
        var service = NewService("web-a");
        service = await ApplyAsync(WithLoadBalancer(service) with { SourceRanges = ["198.51.100.0/24"] });

        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RANGE-6")]
    public async Task Source_ranges_apply_to_nodes()
    {
        var (closed, open) = (await LoadBalancerAsync("198.51.100.0/24"), await LoadBalancerAsync("192.168.113.0/24"));

        await (await Node1.AskAsync($"{closed}:80")).ShouldNotBeAnsweredAsync();
        await (await Node1.AskAsync($"{open}:80")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("RANGE-7")]
    public async Task Source_ranges_apply_to_pods()
    {
        var (first, second) = (await LoadBalancerAsync("10.244.0.0/24"), await LoadBalancerAsync("10.244.1.0/24"));

        await (await PodA.AskAsync($"{first}:80")).ShouldBeAnsweredByAsync("web-a");
        await (await PodC.AskAsync($"{second}:80")).ShouldBeAnsweredByAsync("web-a");
        await (await PodA.AskAsync($"{second}:80")).ShouldNotBeAnsweredAsync();
        await (await PodC.AskAsync($"{first}:80")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("RANGE-8")]
    public async Task Source_ranges_of_one_family_leave_the_other_unrestricted()
    {
        var service = NewService("web-a");
        service = service with { ClusterIPs = [service.ClusterIPs[0], AddressV6(service)], SourceRanges = ["198.51.100.0/24"] };
        var address = OutsideAddressV6(service);
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
