using Conformance.Reports;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Schedulers;

/// <summary>What is left of the schedulers in Kubernetes.</summary>
public sealed class ClusterWeights : ClusterFixture
{
    [Test, Claim("SCH-5")]
    public async Task Every_endpoint_has_the_weight_one()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));

        await PodA.AskManyAsync(service.Target(), 12);

        VirtualServerAt(service.Target()).RealServers.Select(r => r.Weight).ShouldBe([1, 1, 1]);
    }
}
