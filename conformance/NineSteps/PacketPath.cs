using System.Collections.Concurrent;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;
using Conformance.Traffic.Tracing;

namespace Conformance.Suite.NineSteps;

/// <summary>
/// The article's nine steps of a packet to a ClusterIP (2.1), on the rules that the kernel itself says it passed. The Service is the
/// article's, and nginx answers.
/// </summary>
public sealed class PacketPath : ClusterFixture
{
    private static readonly ConcurrentDictionary<string, Lazy<Task<RuleWalk>>> s_walks = new(StringComparer.Ordinal);

    [Test, Claim("F-1")]
    public async Task Clients_and_pods_enter_at_prerouting_and_node_processes_at_output()
    {
        (await FromOutsideAsync()).Path.FirstOrDefault().ShouldBe("nat PREROUTING -> KUBE-SERVICES");
        (await FromPodAsync()).Path.FirstOrDefault().ShouldBe("nat PREROUTING -> KUBE-SERVICES");
        (await Node1.RunAsync($"curl --silent http://{ArticleServices.MyNginx.ClusterIPs[0]}/")).ShouldStartWith("web-b ");
        var own = await FromNodeAsync();
        own.Path.FirstOrDefault(p => p.StartsWith("nat", StringComparison.Ordinal)).ShouldBe("nat OUTPUT -> KUBE-SERVICES");
        own.Steps.ShouldNotContain(s => s.Chain == "PREROUTING" || s.Chain == "INPUT", "it meets IPVS at OUTPUT");
    }

    [Test, Claim("F-2")]
    public async Task Packets_of_pods_are_not_marked()
    {
        (await FromOutsideAsync()).Path.ShouldContain("nat KUBE-SERVICES -> KUBE-MARK-MASQ");
        (await FromNodeAsync()).Path.ShouldContain("nat KUBE-SERVICES -> KUBE-MARK-MASQ");
        var pod = await FromPodAsync();
        pod.Path.ShouldNotContain("nat KUBE-SERVICES -> KUBE-MARK-MASQ");
        await pod.Flow.ShouldBeSeenByServerAsAsync("pod-a");
    }

    [Test, Claim("F-3")]
    public async Task The_mark_is_0x4000()
    {
        var walk = await FromOutsideAsync();

        // iptables-nft tells a packet's mark once for each hook.
        var marking = walk.Steps.FirstOrDefault(s => s is { Chain: "KUBE-MARK-MASQ", Target: "MARK" });
        marking.ShouldNotBeNull();
        marking.Mark.ShouldBe(0u, "before");
        marking.Rule.ShouldBe("-j MARK --set-xmark 0x4000/0x4000");
        var next = walk.Steps.SkipWhile(s => s != marking).FirstOrDefault(s => s is { Table: "filter", Chain: "INPUT" });
        next.ShouldNotBeNull();
        next.Mark.ShouldBe(0x4000u, "at the next hook");
    }

    [Test, Claim("F-4")]
    public async Task It_passes_kube_node_port_without_a_match_and_is_accepted()
    {
        var walk = await FromOutsideAsync();

        walk.Path.SkipWhile(p => p != "nat KUBE-MARK-MASQ -> MARK").Skip(1).Take(2)
            .ShouldBe(["nat KUBE-SERVICES -> KUBE-NODE-PORT", "nat KUBE-SERVICES -> ACCEPT"]);
        walk.Steps.Where(s => s is { Table: "nat", Chain: "KUBE-NODE-PORT" }).ShouldAllBe(s => s.Target == "RETURN");
    }

    [Test, Claim("F-5")]
    public async Task Input_has_other_chains_today_and_ipvs_sends_through_output()
    {
        var walk = await FromOutsideAsync();
        DemandReturns(walk);

        walk.Path.Where(p => p.StartsWith("filter", StringComparison.Ordinal)).ShouldBe(
        [
            "filter INPUT -> KUBE-IPVS-FILTER",
            "filter KUBE-IPVS-FILTER -> RETURN",
            "filter INPUT -> KUBE-PROXY-FIREWALL",
            "filter INPUT -> KUBE-NODE-PORT",
            "filter OUTPUT -> KUBE-IPVS-OUT-FILTER",
        ]);
        var atOutput = walk.Steps.FirstOrDefault(s => s is { Table: "filter", Chain: "OUTPUT" });
        atOutput?.Packet.Destination!.ToString().ShouldBe(EndPointOf("web-b", 80), "rewritten by IPVS between INPUT and OUTPUT");
        walk.Steps.ShouldNotContain(s => s.Chain == "KUBE-FIREWALL" || (s.Mark & 0x8000) != 0);
        var connection = walk.Connections.ShouldHaveSingleItem();
        (connection.Client, connection.Virtual.ToString(), connection.Destination.ToString())
            .ShouldBe((walk.Flow.Local, "10.108.113.237:80", EndPointOf("web-b", 80)), "IPVS's own entry");
    }

    [Test, Claim("F-6")]
    public async Task Postrouting_masquerades_marked_packets_and_returns_others()
    {
        var marked = await FromOutsideAsync();
        marked.Path.SkipWhile(p => p != "nat POSTROUTING -> KUBE-POSTROUTING")
            .ShouldBe(["nat POSTROUTING -> KUBE-POSTROUTING", "nat KUBE-POSTROUTING -> MARK", "nat KUBE-POSTROUTING -> MASQUERADE"]);
        await marked.Flow.ShouldBeSeenByServerAsAsync(OverlayOfNode1);
        var entry = marked.Conntrack.ShouldHaveSingleItem();
        (entry.Original.Destination.ToString(), entry.Reply.Source.ToString(), entry.Reply.Destination.ToString())
            .ShouldBe(("10.108.113.237", Lab["web-b"].Address.ToString(), OverlayOfNode1), "both rewritings, in one entry");
        var pod = await FromPodAsync();
        DemandReturns(pod);
        pod.Path.SkipWhile(p => p != "nat POSTROUTING -> KUBE-POSTROUTING")
            .ShouldBe(["nat POSTROUTING -> KUBE-POSTROUTING", "nat KUBE-POSTROUTING -> RETURN"]);
    }

    [Test, Claim("F-7")]
    public async Task The_tables_mangle_and_raw_have_no_rules()
    {
        (await Node1.Iptables.CountersAsync()).Where(r => r.Table is "mangle" or "raw").ShouldBeEmpty();
    }

    [Test, Claim("F-8")]
    public async Task Flannel_carries_the_packet_to_the_other_node()
    {
        await StartNginxAsync();
        // A flow of its own: of those that all tests look at, the packets may be gone.
        var flow = await PodA.AskHttpAsync(ArticleServices.MyNginx.Target());
        await flow.ShouldBeAnsweredByAsync("web-b");

        var inner = flow.ReadStory().Steps.FirstOrDefault(s => s.Captured
            is { Node: "node1", Device: "flannel.1", IsLeaving: true })?.Captured;
        inner.ShouldNotBeNull("node1 sends it through its overlay device");
        Lab.Wire.Packets().ShouldContain(p => p.Node == "node1" && p.Device == "eth0" && p.IsLeaving && p.Packet.DestinationPort == 8472
            && p.Packet.DestinationAddress!.Equals(Node2.Address) && p.Time >= inner.Time
                && (p.Time - inner.Time).TotalMilliseconds < 1000 && p.Packet.Payload.Length > 8
            && Packet.Parse(p.Packet.Payload.Slice(8)).TransportIdentity == inner.Packet.TransportIdentity);
    }

    private static void DemandReturns(RuleWalk walk)
    {
        if (!walk.TellsReturns)
            Not.Testable("this kernel's trace of iptables-nft does not tell which rule a packet returned by");
    }

    private Task<RuleWalk> FromOutsideAsync() => WalkAsync(Client, 21000);

    private Task<RuleWalk> FromPodAsync() => WalkAsync(PodA, 21100);

    private Task<RuleWalk> FromNodeAsync() => WalkAsync(Node1, 21200);

    /// <summary>One walk for each kind of client, whichever test needs it first.</summary>
    private async Task<RuleWalk> WalkAsync(Node client, int sourcePort)
    {
        var walk = await s_walks.GetOrAdd(client.Name, _ => new(async () =>
        {
            await StartNginxAsync();
            if (client == Client)
                await ReachableAsync(ArticleServices.MyNginx.ClusterIPs[0], via: Node1);
            var first = await RuleWalk.FollowAsync(Node1, sourcePort, port => client.AskHttpAsync(ArticleServices.MyNginx.Target(), port));
            await first.Flow.ShouldBeAnsweredByAsync("web-b");
            return first;
        })).Value;
        walk.Flow.Share();
        return walk;
    }
}
