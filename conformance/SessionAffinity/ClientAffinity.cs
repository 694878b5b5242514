using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.SessionAffinity;

/// <summary>sessionAffinity ClientIP (API reference, SessionAffinityConfig).</summary>
public sealed class ClientAffinity : ClusterFixture
{
    [Test, Claim("AFFINITY-1")]
    public async Task Session_affinity_keeps_a_client_on_one_endpoint()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b", "web-c") with { HasAffinity = true, AffinitySeconds = 60 });

        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(1);
    }

    [Test, Claim("AFFINITY-2")]
    public async Task Session_affinity_applies_to_a_node_port()
    {
        var service = await ApplyAsync(
            WithNodePort(NewService("web-a", "web-b", "web-c") with { HasAffinity = true, AffinitySeconds = 60 }));

        (await Client.AskManyAsync($"node1:{service.NodePort}", 30)).Count.ShouldBe(1);
    }

    [Test, Claim("AFFINITY-4")]
    public async Task Session_affinity_moves_when_the_endpoint_is_removed()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b") with { HasAffinity = true, AffinitySeconds = 60 });
        var first = (await PodA.AskManyAsync(service.Target(), 5)).Keys.ShouldHaveSingleItem();
        var other = first == "web-a" ? "web-b" : "web-a";

        await ApplyAsync(service with { Endpoints = [other] });

        (await PodA.AskManyAsync(service.Target(), 5)).Keys.ShouldBe([other]);
    }
    [Test, Claim("AFFINITY-5")]
    public async Task Session_affinity_lasts_three_hours_or_as_configured()
    {
        var plain = await ApplyAsync(WithNodePort(NewService("web-a") with { HasAffinity = true }));
        var timed = await ApplyAsync(WithNodePort(NewService("web-a") with { HasAffinity = true, AffinitySeconds = 1234 }));
        foreach (var (service, seconds) in new[] { (plain, 10_800), (timed, 1234) })
        {
            await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
            await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
            var templates = Node1.IpvsConnections()
                .Where(c => c.Client.Port == 0 && (c.Virtual.ToString() == service.Target() || c.Virtual.Port == service.NodePort))
                .ToList();
            templates.Count.ShouldBe(2, "one for the ClusterIP, one for the node port");
            templates.ShouldAllBe(c => c.ExpiresInSeconds <= seconds && c.ExpiresInSeconds > seconds - 60);
        }
    }

    [Test, Claim("AFFINITY-6")]
    public async Task Session_affinity_applies_to_ipv6()
    {
        var service = await ApplyAsync(OverIPv6(NewService("web-a", "web-b", "web-c")) with { HasAffinity = true, AffinitySeconds = 60 });

        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(1);
    }

    [Test, Claim("AFFINITY-7")]
    public async Task Session_affinity_is_of_one_client_and_not_of_its_network()
    {
        var servers = new List<string>();
        for (var i = 0; i < 10; i++) // by chance all clients of one Service may have one endpoint, but not those of ten (1 in 1,000,000)
        {
            var service = await ApplyAsync(NewService("web-b", "web-c") with { HasAffinity = true, AffinitySeconds = 60 });
            foreach (var client in new[] { PodA, Lab["web-a"], Lab["pod-b"] })
                servers.Add($"{i} {(await client.AskManyAsync(service.Target(), 3)).Keys.ShouldHaveSingleItem()}");
        }

        servers.Distinct(StringComparer.Ordinal).Count().ShouldBeGreaterThan(10, "clients of one network have different endpoints");
    }
}
