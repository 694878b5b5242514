using Conformance.Labs;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.KernelTests;

/// <summary>The outcome of a flow, read from the wire: one test for each way to fail.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class TrafficTests
{
    private Lab _lab = null!;

    private Node Client => _lab["client"];

    private Node Director => _lab["director"];

    private Node Rs1 => _lab["rs1"];

    [SetUp]
    public async Task StartLab() => _lab = await Lab.StartAsync(Topology.Load("routed-nat"));

    [TearDown]
    public async Task EndLab() => await _lab.DisposeAsync();

    [Test]
    public async Task A_closed_port_is_refused_by_its_host()
    {
        var flow = await Client.AskAsync("rs1:1");

        await flow.ShouldBeRefusedAsync(by: "rs1");
        flow.Outcome.From.ShouldBe(Rs1.Address);
    }

    [Test]
    public async Task A_firewall_on_the_way_is_named_with_its_icmp_code()
    {
        await Director.Iptables.AddAsync(("filter", "-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited"));

        await (await Client.AskAsync("rs1:8080")).ShouldMeetIcmpAsync(type: 3, code: 10, by: "director");
    }

    [Test]
    public async Task Reset_forged_by_a_firewall_differs_from_one_of_the_host()
    {
        await Director.Iptables.AddAsync(("filter", "-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with tcp-reset"));

        var flow = await Client.AskAsync("rs1:8080");

        await flow.ShouldBeRefusedAsync(by: "director");
        flow.Outcome.From.ShouldBe(Rs1.Address, "it pretends to be the real server");
    }

    [Test]
    public async Task What_is_dropped_is_silence() => await SilenceAsync("-A FORWARD -p tcp --dport 8080 -j DROP");

    [Test]
    public async Task What_is_dropped_on_the_way_back_is_silence_too() => await SilenceAsync("-A FORWARD -p tcp --sport 8080 -j DROP");

    [Test]
    public async Task An_answer_from_another_address_is_named()
    {
        // A UDP server on all addresses answers from the one that routing chooses.
        await Director.AddAddressAsync("192.168.113.200/24");
        Director.Serve(TransportProtocol.Udp, 8080);

        var flow = await Client.AskUdpAsync("192.168.113.200:8080");

        flow.Outcome.ToString().ShouldBe("an answer came from the wrong address 192.168.113.101 (director)");
    }

    [Test]
    public async Task A_udp_port_without_a_socket_meets_icmp() => await (await Client.AskUdpAsync("rs1:9"))
        .ShouldMeetIcmpAsync(type: 3, code: 3, by: "rs1");

    [Test]
    public async Task Missing_host_is_reported_unreachable_by_the_router() =>
        await (await Client.AskUdpAsync("10.99.99.99:80")).ShouldMeetIcmpAsync(type: 3, code: 0, by: "director");

    [Test]
    public async Task Attempt_that_failed_is_over_though_the_other_family_has_its_port_in_time_wait()
    {
        await (await Client.AskAsync("rs1:8080", sourcePort: 40001)).ShouldBeAnsweredByAsync("rs1");

        await (await Client.AskAsync($"[{Rs1.Spec.Interfaces[0].Address6}]:1", sourcePort: 40001)).ShouldBeRefusedAsync(by: "rs1");
    }

    [Test]
    public async Task Without_a_route_nothing_leaves()
    {
        await Client.DeleteRouteAsync("0.0.0.0/0");

        await (await Client.AskAsync("rs1:8080")).ShouldNotLeaveTheClientAsync();
    }

    [Test]
    public async Task A_connection_carries_data_both_ways_and_closes_from_either_side()
    {
        await using (var byClient = await Client.ConnectAsync("rs1:8080", sourcePort: 40001))
        {
            await byClient.ExchangeAsync(200_000);
            await byClient.CloseAsync();
            await byClient.ShouldBeSeenAsAsync(PacketPattern.On("client").Leaving.Fin(), PacketPattern.On("client").Arriving.Fin());
        }
        await using (var byServer = await Client.ConnectAsync("rs1:8080", sourcePort: 40002))
        {
            await byServer.CloseByServerAsync();
            await byServer.ShouldBeSeenAsAsync(PacketPattern.On("client").Arriving.Fin(), PacketPattern.On("client").Leaving.Fin());
        }
        await using (var reset = await Client.ConnectAsync("rs1:8080", sourcePort: 40003))
        {
            await reset.ResetAsync();
            await reset.ShouldBeSeenAsAsync(PacketPattern.On("rs1").Arriving.Reset());
        }
        await using var resetByServer = await Client.ConnectAsync("rs1:8080", sourcePort: 40004);
        await resetByServer.CloseByServerAsync(reset: true);
        await resetByServer.ShouldBeSeenAsAsync(PacketPattern.On("client").Arriving.Reset(from: "rs1:8080"));
    }

    [Test]
    public async Task Many_connections_at_once_are_all_answered()
    {
        var answers = await Client.AskManyAsync("rs2:8080", 300);

        answers.ShouldBe(new Dictionary<string, int> { ["rs2"] = 300 });
        _lab["rs2"].Servers.Sum(s => s.Peers.Count).ShouldBe(300);
    }

    [TestCase(8089, "", "refused: reset by rs2")]
    [TestCase(8080, "-A FORWARD -p tcp --dport 8080 -j DROP", "silence: nothing came back")]
    [TestCase(8080, "-A FORWARD -p tcp --sport 8080 --tcp-flags PSH PSH -j DROP", "silence: nothing came back")]
    public async Task Unanswered_connection_of_many_is_reported_with_its_story(int port, string rule, string outcome)
    {
        if (rule.Length > 0)
            await Director.Iptables.AddAsync(("filter", rule));

        var message = await FailureOfAsync(() => Client.AskManyAsync($"rs2:{port}", 30));

        message.ShouldContain("did not answer one after 0 were answered.\n");
        message.ShouldContain(outcome);
        message.ShouldContain($"> 172.16.0.100:{port} SYN");
    }

    [Test]
    public async Task A_story_tells_who_rewrote_what()
    {
        await Director.AddAddressAsync("10.10.0.1/24");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));

        var flow = await Client.AskAsync("10.10.0.1:80", sourcePort: 40001);

        var rewrites = flow.ReadStory().Steps.Where(s => s.Rewrite is not null).Select(s => $"{s.Captured.Node}: {s.Rewrite}").Distinct()
            .ToList();
        rewrites.ShouldBe(["director: destination 10.10.0.1:80 -> 172.16.0.99:8080", "director: source 172.16.0.99:8080 -> 10.10.0.1:80"]);
        flow.ReadStory().ToString().ShouldContain("<- director rewrote destination 10.10.0.1:80 -> 172.16.0.99:8080");
    }

    [Test]
    public async Task A_failed_assertion_prints_the_story_and_the_tables()
    {
        await Director.AddAddressAsync("10.10.0.1/24");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp("10.10.0.1:80").Masquerading("rs1:8080"));
        await Director.Iptables.AddAsync(("filter", "-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT"), ("filter", "-A OUTPUT -p udp -j DROP"));
        var flow = await Client.AskAsync("10.10.0.1:80");

        var message = await FailureOfAsync(() => flow.ShouldTimeOutAsync());

        message.ShouldContain("The flow should time out.");
        message.ShouldContain("answered by rs1");
        message.ShouldContain("SYN-ACK");
        message.ShouldContain("virtual servers of director:");
        message.ShouldContain("A REPEAT of the flow, traced: client (192.168.113.102:23");
        message.ShouldContain("filter INPUT                    -p tcp -m tcp --dport 80 -j ACCEPT   [192.168.113.102:23");
        message.ShouldContain("rules of director whose counters grew meanwhile:\n  filter: +");
        (await Director.Iptables.ReadAsync()).All.ShouldNotContain(r => r.Target == "TRACE", "observing leaves no mark");
    }

    [Test]
    public async Task Observing_leaves_no_mark()
    {
        var events = Director.ListenToConntrack();

        await (await Client.AskAsync("rs1:8080")).ShouldBeAnsweredByAsync("rs1");

        Director.Conntrack().ShouldBeEmpty("nothing needed connection tracking");
        events.Take().ShouldBeEmpty();
        (await Director.RunAsync("iptables-save")).ShouldBeEmpty("no table was loaded");
    }

    [Test]
    public async Task Captures_are_pcap_that_tcpdump_reads()
    {
        await (await Client.AskAsync("rs1:8080", sourcePort: 40001)).ShouldBeAnsweredByAsync("rs1");
        var packets = _lab.Wire.Packets().Where(p => p.Node == "client").ToList();
        var file = Path.Combine(RunFolder.Current, "tcpdump-test.pcap");
        await File.WriteAllBytesAsync(file, PcapWriter.ToBytes(packets));

        var lines = (await Client.RunAsync($"tcpdump -n -r {file} tcp")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        lines.Length.ShouldBe(packets.Count(p => p.Packet.Tcp is not null));
        lines[0].ShouldContain("IP 192.168.113.102.40001 > 172.16.0.99.8080: Flags [S]");
    }

    [Test]
    public async Task Nginx_answers_curl()
    {
        await Rs1.StopServingAsync(TransportProtocol.Tcp, 8080);
        await Rs1.StartNginxAsync(8080);

        (await Client.RunAsync("curl --silent --local-port 40001 http://172.16.0.99:8080/")).ShouldBe("rs1 192.168.113.102:40001\n");
    }

    /// <summary>The text of a failed assertion. Should.ThrowAsync lets it through; Should.Throw waits for ten seconds at most.</summary>
    private static async Task<string> FailureOfAsync(Func<Task> assert)
    {
        try
        {
            await assert();
        }
        catch (ShouldAssertException e)
        {
            return e.Message;
        }
        return "";
    }

    private async Task SilenceAsync(string rule)
    {
        await Director.Iptables.AddAsync(("filter", rule));

        await (await Client.AskAsync("rs1:8080")).ShouldBeMetWithSilenceAsync();
    }
}
