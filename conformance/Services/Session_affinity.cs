using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;

namespace Conformance.Suite.Services;

/// <summary>sessionAffinity ClientIP (API reference, SessionAffinityConfig).</summary>
public sealed class Session_affinity : ClusterFixture
{
    [Test, Claim("SM-79")]
    public async Task With_affinity_all_connections_of_a_client_reach_one_endpoint()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c") with { HasAffinity = true, AffinitySeconds = 60 });

        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(1);
    }

    [Test, Claim("SM-80")]
    public async Task Affinity_counts_at_a_node_port_as_well()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b", "web-c") with { HasAffinity = true, AffinitySeconds = 60 }));

        (await Client.AskManyAsync($"node1:{service.NodePort}", 30)).Count.ShouldBe(1);
    }

    [Test, Claim("SM-81"), NonParallelizable] // it shortens a time of the whole node
    public async Task Affinity_ends_when_the_time_without_a_datagram_has_passed()
    {
        // UDP, whose connections end with the affinity's own time; those of TCP would prolong it.
        var service = await ApplyAsync(NewService("web-a", "web-b") with { Ports = [new PortSpec(80, Protocol: "UDP")], HasAffinity = true, AffinitySeconds = 1 });
        var servers = new HashSet<string>(StringComparer.Ordinal);
        await Node1.RunAsync("ipvsadm --set 0 0 1");
        try
        {
            for (var i = 0; i < 6 && servers.Count < 2; i++)
            {
                var flow = await PodA.AskUdpAsync(service.Target());
                flow.ShouldBeAnswered();
                servers.Add(flow.Answer!.Server);
                await Task.Delay(TimeSpan.FromSeconds(2.5));
            }
        }
        finally
        {
            await Node1.RunAsync("ipvsadm --set 0 0 300");
        }

        servers.Count.ShouldBe(2, "round robin chooses anew after each pause");
    }

    [Test, Claim("SM-82")]
    public async Task A_client_whose_endpoint_is_removed_reaches_another_in_spite_of_affinity()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b") with { HasAffinity = true, AffinitySeconds = 60 });
        var first = (await PodA.AskManyAsync(service.Target(), 5)).Keys.ShouldHaveSingleItem();
        var other = first == "web-a" ? "web-b" : "web-a";

        await ApplyAsync(service with { Endpoints = [other] });

        (await PodA.AskManyAsync(service.Target(), 5)).Keys.ShouldBe([other]);
    }
}
