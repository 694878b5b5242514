using Conformance.Clusters.Kubernetes;
using Conformance.Clusters.Proxies;
using Conformance.Reports;
using Conformance.Traffic.Assertions;

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

        var byHash = await ApplyAsync(With(NewService("web-a", "web-b", "web-c"), "sh"));

        (await PodA.AskManyAsync(byHash.Target(), 12)).Count.ShouldBe(1);
    }
    [Test, Claim("SM-145")]
    public async Task A_scheduler_that_is_chosen_and_given_up_on_a_live_service_takes_effect()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));
        (await PodA.AskManyAsync(service.Target(), 12)).Count.ShouldBe(3);

        await ApplyAsync(With(service, "sh"));
        (await PodA.AskManyAsync(service.Target(), 12)).Count.ShouldBe(1);

        await ApplyAsync(service);
        (await PodA.AskManyAsync(service.Target(), 12)).Count.ShouldBe(3);
    }

    [Test, Claim("SM-146")]
    public async Task Maglev_hashing_looks_at_the_source_port_as_well()
    {
        var service = await ApplyAsync(With(NewService("web-a", "web-b", "web-c"), "mh"));

        // Forty ports: that all of them hash to one of three has a chance of three in three to the fortieth.
        (await PodA.AskManyAsync(service.Target(), 40)).Count.ShouldBeGreaterThan(1);
    }

    private static ServiceSpec With(ServiceSpec service, string scheduler) =>
        service with { Annotations = new Dictionary<string, string>(StringComparer.Ordinal) { ["ipvs.conformance/scheduler"] = scheduler } };
}
