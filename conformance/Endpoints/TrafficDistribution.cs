using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Endpoints;

/// <summary>trafficDistribution (KEP-4444), which v1.30 of kube-proxy does not know.</summary>
public sealed class TrafficDistribution : ClusterFixture
{
    [Test, Claim("ENDPOINT-17")]
    public async Task Traffic_distribution_keeps_clients_in_their_zone()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a") { ForZone = "zone-node1" },
            new EndpointSpec("web-b") { ForZone = "zone-node2" }) with
        { TrafficDistribution = "PreferClose" });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
        (await PodC.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }
}
