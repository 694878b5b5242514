using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Conntrack;

/// <summary>Article 1.3: the entries of the connection-tracking table, field by field.</summary>
[Topology("article-nat"), Requires(Feature.IpvsMatch, Feature.IpvsConntrack, Feature.ConntrackTable)]
public sealed class ConntrackEntries : ArticleFixture
{
    /// <summary>A rule that matches nothing: connection tracking works in a namespace as soon as some rule needs it.</summary>
    private static readonly (string, string) s_trackingOn = ("filter", "-A INPUT -s 203.0.113.1 -m conntrack --ctstate NEW -j ACCEPT");

    [Test, Claim("CT-2")]
    public async Task One_command_shows_events_and_the_other_two_the_table()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");
        var events = Director.ListenToConntrack();
        await (await Client.AskAsync(Service, sourcePort: 35562)).ShouldBeAnsweredByAsync("rs1");
        events.Take().ShouldContain(e => e.Type == ConntrackEventType.New && e.Original.SourcePort == 35562,
            "the listener sees what happens");

        // The connection is over and its entry is there.
        await Eventually.Async("the connection is closed", () => Of(Director, 35562).State, state => state == "TIME_WAIT");
        events.Take();
        var listed = await RunAsInTheArticleAsync(Director, "conntrack -L");
        listed.ShouldContain("sport=35562");
        (await RunAsInTheArticleAsync(Director, "cat /proc/net/nf_conntrack")).ShouldContain("sport=35562");

        var silent = await Director.Command("timeout", "1", "conntrack", "-E").TryAsync();
        silent.ExitCode.ShouldBe(124, "it listened until timeout(1) ended it");
        silent.StandardOutput.ShouldBeEmpty("an entry that nothing happens to is no event");
        events.Take().ShouldBeEmpty();

        var listening = Director.Command("timeout", "2", "conntrack", "-E").TryAsync();
        for (var port = 40000; !listening.IsCompleted; port++)
        {
            await (await Client.AskAsync(Service, sourcePort: port)).ShouldBeAnsweredByAsync("rs1");
            await Task.Delay(TimeSpan.FromMilliseconds(100)); // nobody knows when it listens; a few connections show it
        }
        (await listening).ExitCode.ShouldBe(124);
        (await listening).StandardOutput.ShouldContain("[NEW]", Case.Sensitive, "what happens is an event, and says so");
        (await listening).StandardOutput.ShouldContain("dst=10.10.0.1");
    }

    [Test, Claim("CT-3")]
    public async Task Entry_of_the_director_has_client_to_virtual_and_real_server_to_director()
    {
        await Rs1.StopServingAsync(TransportProtocol.Tcp, 8080);
        await Rs1.StartNginxAsync(8080);
        await SetUpServiceWithSnatAsync("rs1:8080");

        var page = await RunAsInTheArticleAsync(Client,
            "curl --silent --show-error --max-time 5 --local-port 35562 http://10.10.0.1:8410/");

        page.ShouldBe("rs1 192.168.113.101:35562\n");
        var entry = await Eventually.Async("the entry of the article is there", () => Director.Conntrack()
            .SingleOrDefault(e => e.Original.SourcePort == 35562), e => e?.State == "TIME_WAIT");
        entry!.Original.ToString().ShouldBe("src=192.168.113.102 dst=10.10.0.1 sport=35562 dport=8410");
        entry.Reply.ToString().ShouldBe("src=192.168.113.99 dst=192.168.113.101 sport=8080 dport=35562");
        entry.IsAssured.ShouldBeTrue();
    }

    [Test, Claim("CT-4")]
    public async Task The_reply_is_mapped_back_to_the_client_and_gets_the_virtual_address()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");

        var flow = await Client.AskAsync(Service, sourcePort: 35562);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(
            On("director").Arriving.SynAck(from: "rs1:8080", to: "192.168.113.101:35562"),
            On("director").Leaving.SynAck(from: Service, to: "192.168.113.102:35562"));
    }

    [Test, Claim("CT-5")]
    public async Task The_columns_are_names_and_numbers_of_both_layers_seconds_left_and_state()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");
        await using var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredByAsync("rs1");

        // ipv4 is AF_INET and has the number 2 there, which is not a number of IP.
        (await RunAsInTheArticleAsync(Director, "cat /proc/net/nf_conntrack")).ShouldMatch(
            @"^ipv4 +2 tcp +6 [0-9]+ ESTABLISHED src=");
        var entry = Director.Conntrack().ShouldHaveSingleItem();

        var aged = await Eventually.Async("the seconds run down", () => Director.Conntrack().SingleOrDefault(), e => e is null
            || e.SecondsLeft < entry.SecondsLeft - 1);
        aged.ShouldNotBeNull("the entry is still there");
        await flow.ExchangeAsync(1);
        Director.Conntrack().ShouldHaveSingleItem().SecondsLeft.ShouldBeGreaterThan(aged.SecondsLeft,
            "traffic sets the time to its full length again");
    }

    [Test, Claim("CT-6")]
    public async Task Time_wait_does_not_tell_who_closed_first()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");

        await using (var closedByClient = await Client.ConnectAsync(Service, sourcePort: 35562))
        {
            await closedByClient.ShouldBeAnsweredByAsync("rs1");
            await closedByClient.CloseAsync();
        }
        await using (var closedByServer = await Client.ConnectAsync(Service, sourcePort: 35563))
        {
            await closedByServer.ShouldBeAnsweredByAsync("rs1");
            await closedByServer.CloseByServerAsync();
        }

        foreach (var port in new[] { 35562, 35563 })
        {
            await Eventually.Async($"the connection from port {port} is in TIME_WAIT",
                () => Director.Conntrack().SingleOrDefault(e => e.Original.SourcePort == port)?.State, state => state == "TIME_WAIT");
        }
    }

    [Test, Claim("CT-7")]
    public async Task Assured_is_more_than_both_directions_and_unreplied_is_no_reply()
    {
        await Client.Iptables.AddAsync(s_trackingOn);
        await Rs1.Iptables.AddAsync(("filter", "-A INPUT -p udp --dport 9999 -j DROP"));

        await (await Client.AskUdpAsync("rs1:8080", sourcePort: 40001)).ShouldBeAnsweredByAsync("rs1");
        await (await Client.AskUdpAsync("rs1:9999", sourcePort: 40002)).ShouldBeMetWithSilenceAsync();
        await (await Client.AskAsync("rs1:8080", sourcePort: 40003)).ShouldBeAnsweredByAsync("rs1");

        var answered = Of(Client, 40001);
        answered.IsUnreplied.ShouldBeFalse();
        answered.IsAssured.ShouldBeFalse("one question and one answer in both directions do not make a UDP entry assured");
        Of(Client, 40002).IsUnreplied.ShouldBeTrue();
        var tcp = Of(Client, 40003);
        tcp.IsAssured.ShouldBeTrue();
        tcp.IsUnreplied.ShouldBeFalse();
    }

    [Test, Claim("CT-8")]
    public async Task The_client_has_an_entry_only_while_something_there_needs_tracking()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");

        await (await Client.AskAsync(Service, sourcePort: 35561)).ShouldBeAnsweredByAsync("rs1");
        Client.Conntrack().ShouldBeEmpty();
        Director.Conntrack().ShouldContain(e => e.Original.SourcePort == 35561);

        await Client.Iptables.AddAsync(s_trackingOn);

        await (await Client.AskAsync(Service, sourcePort: 35562)).ShouldBeAnsweredByAsync("rs1");
        var entry = Of(Client, 35562);
        entry.Original.ToString().ShouldBe("src=192.168.113.102 dst=10.10.0.1 sport=35562 dport=8410");
        entry.Reply.ToString().ShouldBe("src=10.10.0.1 dst=192.168.113.102 sport=8410 dport=35562",
            "the client's own machine rewrites nothing");
    }

    private static ConntrackEntry Of(Node node, int sourcePort) => node.Conntrack().Where(e => e.Original.SourcePort == sourcePort)
        .ShouldHaveSingleItem();
}
