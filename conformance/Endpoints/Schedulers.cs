using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Endpoints;

/// <summary>A scheduler for one Service, which kube-proxy does not have (kubernetes/kubernetes#118784).</summary>
public sealed class Schedulers : ClusterFixture
{
    [Test, Claim("ENDPOINT-10")]
    public async Task Source_hashing_sends_one_client_to_one_endpoint()
    {
        var byTurns = await ApplyAsync(NewService("web-a", "web-b", "web-c"));
        (await PodA.AskManyAsync(byTurns.Target(), 12)).Count.ShouldBe(3);

        var byHash = await ApplyAsync(With(NewService("web-a", "web-b", "web-c"), "sh"));

        (await PodA.AskManyAsync(byHash.Target(), 12)).Count.ShouldBe(1);
    }
    [Test, Claim("ENDPOINT-11")]
    public async Task Change_of_the_scheduler_takes_effect()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));
        (await PodA.AskManyAsync(service.Target(), 12)).Count.ShouldBe(3);

        await ApplyAsync(With(service, "sh"));
        (await PodA.AskManyAsync(service.Target(), 12)).Count.ShouldBe(1);

        await ApplyAsync(service);
        (await PodA.AskManyAsync(service.Target(), 12)).Count.ShouldBe(3);
    }

    [Test, Claim("ENDPOINT-12")]
    public async Task Maglev_hashing_uses_the_source_port()
    {
        var service = await ApplyAsync(With(NewService("web-a", "web-b", "web-c"), "mh"));

        // Forty ports: that all of them hash to one of three has a chance of three in three to the fortieth.
        (await PodA.AskManyAsync(service.Target(), 40)).Count.ShouldBeGreaterThan(1);
    }

    private static ServiceSpec With(ServiceSpec service, string scheduler) =>
        service with
        {
            Annotations = new Dictionary<string, string>(
            StringComparer.Ordinal)
            { ["ipvs.conformance/scheduler"] = scheduler }
        };
}
