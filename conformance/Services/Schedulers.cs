using Conformance.Harness.Proxies;

namespace Conformance.Suite.Services;

/// <summary>A scheduler for one Service, which kube-proxy does not have (kubernetes/kubernetes#118784).</summary>
public sealed class Schedulers : ClusterFixture
{
    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.SchedulerPerService];

    [Test, Claim("SM-97")]
    public async Task A_service_with_source_hashing_sends_one_client_to_one_endpoint()
    {
        var byTurns = await ApplyAsync(NewService("web-a", "web-b", "web-c"));
        (await PodA.AskManyAsync(byTurns.Target(), 12)).Count.ShouldBe(3);

        var byHash = await ApplyAsync(NewService("web-a", "web-b", "web-c") with
        {
            Annotations = new Dictionary<string, string>(StringComparer.Ordinal) { ["ipvs.conformance/scheduler"] = "sh" },
        });

        (await PodA.AskManyAsync(byHash.Target(), 12)).Count.ShouldBe(1);
    }
}
