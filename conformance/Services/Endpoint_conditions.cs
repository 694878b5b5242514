using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>Which endpoints get traffic: ready ones; those that terminate and still serve when there is no other (KEP-1669).</summary>
public sealed class Endpoint_conditions : ClusterFixture
{
    [Test, Claim("SM-49")]
    public async Task Connections_are_spread_over_all_ready_endpoints()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c"));

        (await PodA.AskManyAsync(service.Target(), 60)).Keys.Order(StringComparer.Ordinal).ShouldBe(["web-a", "web-b", "web-c"]);
    }

    [Test, Claim("SM-50")]
    public async Task An_endpoint_that_terminates_gets_nothing_while_another_is_ready()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.Terminating("web-a"), "web-b"));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }

    [Test, Claim("SM-51")]
    public async Task Endpoints_that_terminate_and_serve_are_used_when_none_is_ready()
    {
        var service = await ApplyAsync(NewService(EndpointSpec.Terminating("web-a"), EndpointSpec.NotReady("web-b")));

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);
    }

    [Test, Claim("SM-52")]
    public async Task Endpoints_that_terminate_and_do_not_serve_are_not_used()
    {
        var service = await ApplyAsync(NewService(new EndpointSpec("web-a", IsReady: false, IsServing: false, IsTerminating: true)));

        await (await PodA.AskAsync(service.Target())).ShouldBeRefusedAsync();
    }

    [Test, Claim("SM-53")]
    public async Task With_a_local_policy_the_node_s_terminating_endpoint_is_used_though_another_node_has_a_ready_one()
    {
        var service = await ApplyAsync(WithNodePort(NewService(EndpointSpec.Terminating("web-a"), "web-b")) with { ExternalTrafficPolicy = "Local" });

        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-54")]
    public async Task An_endpoint_that_becomes_ready_gets_connections_and_one_that_ceases_to_be_gets_none()
    {
        var service = await ApplyAsync(NewService("web-a", EndpointSpec.NotReady("web-b")));
        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-a"]);

        await ApplyAsync(service with { Endpoints = [EndpointSpec.NotReady("web-a"), "web-b"] });

        (await PodA.AskManyAsync(service.Target(), 20)).Keys.ShouldBe(["web-b"]);
    }
    [Test, Claim("SM-116")]
    public async Task An_endpoint_that_one_slice_lists_twice_counts_in_its_better_state()
    {
        foreach (var other in Others())
            await BothServeAsync(other);
    }

    [Test, Claim("SM-117")]
    public async Task An_endpoint_that_two_slices_list_counts_in_its_better_state()
    {
        foreach (var other in Others())
            await BothServeAsync(other, inOtherSlice: true);
    }

    [Test, Claim("SM-118")]
    public async Task An_endpoint_listed_twice_is_served_at_a_local_node_port()
    {
        foreach (var endpoints in Others().SelectMany(o => new EndpointSpec[][] { ["web-a", o], [o, "web-a"] }))
        {
            var service = await ApplyAsync(WithNodePort(NewService(endpoints)) with { ExternalTrafficPolicy = "Local" });

            await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
        }
    }

    /// <summary>A pod that had the address before web-a got it, in the two states that it may still be listed in.</summary>
    private static EndpointSpec[] Others() => [EndpointSpec.Terminating("web-a") with { PodName = "web-before" }, EndpointSpec.Ended("web-a") with { PodName = "web-before" }];

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
}
