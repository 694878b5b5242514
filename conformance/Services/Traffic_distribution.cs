using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Reports;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>trafficDistribution (KEP-4444), which v1.30 of kube-proxy does not know.</summary>
public sealed class Traffic_distribution : ClusterFixture
{
    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.TrafficDistribution];

    [Test, Claim("SM-114")]
    public async Task A_service_that_prefers_what_is_close_keeps_its_clients_in_their_zone()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForZone = "zone-node1" }, new EndpointSpec("web-b") { ForZone = "zone-node2" }) with { TrafficDistribution = "PreferClose" });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }
}
