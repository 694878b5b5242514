using CliWrap;
using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Linux.Iptables;
using Conformance.Reports;
using Conformance.Suite;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;
using Conformance.Traffic.Tracing;

namespace Conformance.Tests;

/// <summary>The walk through the rules of iptables-nft, on this machine's own kernel where that has it.</summary>
public sealed class NftTraceTests
{
    [SetUp]
    public async Task IsThereNft()
    {
        if (!KernelFeatures.Current.HasNamespaces)
            Assert.Ignore($"{Verdicts.NotTestablePrefix}making namespaces needs root");
        await Toolbox.PrepareAsync();
        if (!await Toolbox.IsNftAsync())
            Assert.Ignore($"{Verdicts.NotTestablePrefix}the iptables that works on this kernel is iptables-legacy, whose trace the " +
                $"suite itself proves");
    }

    [Test]
    public async Task A_packet_is_followed_through_the_rules_that_it_passes()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("routed-nat"));
        var (client, director) = (lab["client"], lab["director"]);
        await director.Iptables.AddAsync(
            ("nat", ":PORTALS - [0:0]"), ("nat", "-A PREROUTING -m comment --comment \"portals of services\" -j PORTALS"),
                ("nat", "-A PORTALS -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.16.0.99:8080"),
            ("mangle", "-A PREROUTING -p tcp -j MARK --set-xmark 0x4000/0x4000"), ("filter", "-A FORWARD -p udp -j DROP"),
                ("filter", "-A FORWARD -p tcp -j ACCEPT"));
        await director.Command("conntrack", "-L").TryAsync();

        var walk = await RuleWalk.FollowAsync(director, 21300, port => client.AskAsync("192.168.113.101:80", port));

        await walk.Flow.ShouldBeAnsweredByAsync("rs1");
        walk.Path.ShouldBe(["mangle PREROUTING -> MARK", "nat PREROUTING -> PORTALS", "nat PORTALS -> DNAT", "filter FORWARD -> ACCEPT"]);
        var forwarded = walk.Steps.Single(s => s is { Table: "filter", Kind: TraceKind.Rule });
        (forwarded.Packet.Destination!.ToString(), forwarded.Mark, forwarded.Rule)
            .ShouldBe(("172.16.0.99:8080", 0x4000u, "-p tcp -j ACCEPT"));
        (await director.Iptables.ReadAsync()).All.ShouldNotContain(r => r.Target == "TRACE", "observing leaves no mark");
    }
}
