using Conformance.Clusters;
using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Changes;

/// <summary>
/// Services that share an address. They have a cluster of their own: kube-proxy's nftables mode may fail at them, and then at every sync.
/// </summary>
public sealed class SharedAddresses : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("CHANGE-17")]
    public async Task Older_of_two_services_with_one_address_is_served()
    {
        var younger = await ApplyAsync(NewService("web-a") with { CreatedAt = "2026-01-02T00:00:00Z" });
        await (await PodA.AskAsync(younger.Target())).ShouldBeAnsweredByAsync("web-a");

        await ApplyAsync(NewService("web-b") with { ClusterIPs = younger.ClusterIPs, CreatedAt = "2026-01-01T00:00:00Z" });

        (await PodA.AskManyAsync(younger.Target(), 10)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("CHANGE-18")]
    public async Task Service_is_served_while_another_on_its_address_is_deleted()
    {
        var kept = NewService("web-a");
        kept = await ApplyAsync(WithLoadBalancer(kept));
        var other = WithNodePort(NewService("web-b") with { LoadBalancerIPs = kept.LoadBalancerIPs, Ports = [new PortSpec(81)] },
            "LoadBalancer");
        var address = await ReachableAsync(kept.LoadBalancerIPs[0], via: Node1);

        var asked = await Load.WhileAsync(Cluster, () => Client.AskManyAsync($"{address}:80", 5), async () =>
        {
            await ApplyAsync(other);
            await (await Client.AskAsync($"{address}:81")).ShouldBeAnsweredByAsync("web-b");
            await DeleteAsync(other);
        });

        asked.SelectMany(a => a.Keys).Distinct(StringComparer.Ordinal).ShouldBe(["web-a"]);
        await (await Client.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");
    }
}
