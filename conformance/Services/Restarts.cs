using Conformance.Harness;
using Conformance.Harness.Assertions;

namespace Conformance.Suite.Services;

/// <summary>A proxy that is killed and started again: nothing that it has programmed goes, and what it missed is made up for.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class Restarts : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.StopsProxies;

    [Test, Claim("SM-100")]
    public async Task While_the_proxy_is_down_what_it_has_programmed_is_served()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a", "web-b")));

        await Cluster.StopProxyAsync(Node1);

        (await PodA.AskManyAsync(service.Target(), 30)).Count.ShouldBe(2);
        var outside = await Client.AskAsync($"node1:{service.NodePort}");
        outside.ShouldBeAnswered();
        outside.Answer!.SeenPeer.Address.ShouldNotBe(Client.Address, "masqueraded as before");
    }

    [Test, Claim("SM-101")]
    public async Task A_connection_goes_on_through_a_restart()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));
        await using var inside = await PodA.ConnectAsync(service.Target());
        await using var outside = await Client.ConnectAsync($"node1:{service.NodePort}");
        inside.ShouldBeAnswered();
        outside.ShouldBeAnswered();

        await Cluster.StopProxyAsync(Node1);
        await inside.ExchangeAsync(1000);
        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        await inside.ExchangeAsync(1000);
        await outside.ExchangeAsync(1000);
    }

    [Test, Claim("SM-102")]
    public async Task What_changed_while_the_proxy_was_down_is_made_when_it_is_back()
    {
        var changed = await ApplyAsync(NewService("web-a"));
        var deleted = await ApplyAsync(NewService("web-a"));
        (await PodA.AskAsync(changed.Target())).ShouldBeAnsweredBy("web-a");

        await Cluster.StopProxyAsync(Node1);
        Cluster.Put(changed with { Endpoints = ["web-b"] });
        Cluster.Delete(deleted);
        await Cluster.StartProxyAsync(Node1);
        await Cluster.SettleAsync();

        (await PodA.AskManyAsync(changed.Target(), 5)).Keys.ShouldBe(["web-b"]);
        await ProgrammedAsync($"node1 does not answer for {deleted.Target()}", () => Harness.Proxies.Cluster.AnswersAsync(PodA, deleted.ClusterIPs[0], 80), answers => !answers);
    }
}
