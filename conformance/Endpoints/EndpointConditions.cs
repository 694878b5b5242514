using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Endpoints;

/// <summary>Which endpoints get traffic: ready ones; those that terminate and still serve when there is no other (KEP-1669).</summary>
public sealed class EndpointConditions : ClusterFixture
{
    [Test, Claim("ENDPOINT-1")]
    public async Task Connections_are_distributed_over_all_ready_endpoints()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));

        (await PodA.AskManyAsync(service.Target(), 60)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b", "web-c"]);
    }

    [Test, Claim("ENDPOINT-2")]
    public async Task Terminating_endpoint_gets_nothing_while_another_is_ready()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.Terminating("web-a"), "web-b"));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("ENDPOINT-3")]
    public async Task Serving_terminating_endpoints_are_used_when_none_is_ready()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.Terminating("web-a"), EndpointSpec.NotReady("web-b")));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
    }

    [Test, Claim("ENDPOINT-4")]
    public async Task Terminating_endpoints_that_do_not_serve_are_not_used()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a", IsReady: false, IsServing: false, IsTerminating: true)));

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("ENDPOINT-5")]
    public async Task Local_terminating_endpoint_is_used_though_another_node_has_a_ready_one()
    {
        var service = await ApplyAsync(
            WithNodePort(NewService(EndpointSpec.Terminating("web-a"), "web-b")) with { ExternalTrafficPolicy = "Local" });

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("ENDPOINT-6")]
    public async Task Readiness_decides_which_endpoints_get_connections()
    {
        var service = await ApplyAsync(NewService("web-a", EndpointSpec.NotReady("web-b")));
        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);

        await ApplyAsync(service with { Endpoints = [EndpointSpec.NotReady("web-a"), "web-b"] });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }
    [Test, Claim("ENDPOINT-7")]
    public async Task Address_twice_in_one_slice_counts_as_ready()
    {
        foreach (var other in Others())
            await BothServeAsync(other);
    }

    [Test, Claim("ENDPOINT-8")]
    public async Task Address_in_two_slices_counts_as_ready()
    {
        foreach (var other in Others())
            await BothServeAsync(other, inOtherSlice: true);
    }

    [Test, Claim("ENDPOINT-9")]
    public async Task Address_listed_twice_is_served_at_a_local_node_port()
    {
        foreach (var endpoints in Others().SelectMany(o => new EndpointSpec[][] { ["web-a", o], [o, "web-a"] }))
        {
            var service = await ApplyAsync(WithNodePort(NewService(endpoints)) with { ExternalTrafficPolicy = "Local" });

            await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
        }
    }

    /// <summary>A pod that had the address before web-a got it, in the two states that it may still be listed in.</summary>
    private static EndpointSpec[] Others() => [EndpointSpec.Terminating("web-a") with { PodName = "web-before" },
        EndpointSpec.Ended("web-a") with { PodName = "web-before" }];

    /// <summary>Lists web-a ready and in another state, in both orders, beside web-b: both are to get connections.</summary>
    private async Task BothServeAsync(EndpointSpec other, bool inOtherSlice = false)
    {
        var ready = new EndpointSpec("web-a");
        var second = inOtherSlice ? 1 : 0;
        foreach (var twice in new EndpointSpec[][] { [ready, other with { Slice = second }], [other, ready with { Slice = second }] })
        {
            var service = await ApplyAsync(NewService([.. twice, "web-b"]));

            (await PodA.AskManyAsync(service.Target(), 20)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b"]);
        }
    }

    [Test, Claim("ENDPOINT-19")]
    public async Task Endpoint_has_many_connections_at_once()
    {
        var service = await ApplyAsync(NewService("web-a"));
        var flows = new List<Flow>();
        for (var i = 0; i < 5; i++)
            flows.Add(await PodA.ConnectAsync(service.Target()));

        foreach (var flow in flows)
        {
            await flow.ShouldBeAnsweredByAsync("web-a");
            await flow.DisposeAsync();
        }
    }
}
