using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipset;

/// <summary>Article 1.1: a black list of addresses and ports, by the article's own commands.</summary>
[Topology("article-nat")]
public sealed class BlackList : SetFixture
{
    private const int LongList = 10_000;

    [Test, Claim("IPS-1")]
    public async Task A_set_works_while_no_rule_names_it()
    {
        await RunAsInTheArticleAsync(Director, "ipset create black hash:ip,port");
        await RunAsInTheArticleAsync(Director, "ipset add black 192.168.113.100,8410");

        (await Director.Command("ipset", "test", "black", "192.168.113.100,8410").TryAsync()).ExitCode.ShouldBe(0);
        (await Director.Command("ipset", "test", "black", "192.168.113.99,8410").TryAsync()).ExitCode.ShouldBe(1);
        (await Director.Iptables.DescribeAsync()).ShouldNotContain("match-set");
        await (await Rs2.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-2")]
    public async Task One_rule_closes_the_port_to_ten_thousand_addresses()
    {
        await RestoreAsync(["create black hash:ip,port maxelem 65536",
            .. Enumerable.Range(0, LongList).Select(i => $"add black 10.{i >> 16}.{(i >> 8) & 255}.{i & 255},6:8410"),
            $"add black {Rs2.Address},6:8410"]);
        await RunAsInTheArticleAsync(Director, BlackRule);

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Client.AskAsync(Website)).ShouldBeAnsweredByAsync("director");

        var rules = (await Director.Iptables.CountersAsync()).Where(r => r.Text.Contains("match-set", StringComparison.Ordinal)).ToList();
        rules.ShouldHaveSingleItem().Packets.ShouldBePositive();
    }

    [Test, Claim("IPS-3")]
    public async Task The_entry_of_the_article_is_of_tcp_and_lets_udp_pass()
    {
        await RunAsInTheArticleAsync(Director, "ipset create black hash:ip,port");
        await RunAsInTheArticleAsync(Director, "ipset add black 192.168.113.100,8410");
        await RunAsInTheArticleAsync(Director, BlackRule);

        (await EntryAsync("black", "192.168.113.100")).ShouldBe("192.168.113.100,tcp:8410");
        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs2.AskUdpAsync(Website)).ShouldBeAnsweredByAsync("director");

        await RunAsInTheArticleAsync(Director, "ipset del black 192.168.113.100,8410");
        (await EntryAsync("black", "192.168.113.100")).ShouldBeNull();
        await (await Rs2.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-4")]
    public async Task The_listed_address_is_dropped_and_another_one_is_served()
    {
        await RunAsInTheArticleAsync(Director, "ipset create black hash:ip,port");
        await RunAsInTheArticleAsync(Director, "ipset add black 192.168.113.100,8410");
        await RunAsInTheArticleAsync(Director, BlackRule);
        Director.Serve(Linux.TransportProtocol.Tcp, 8411);

        var listed = await Rs2.AskAsync(Website);

        await listed.ShouldBeMetWithSilenceAsync();
        await listed.ShouldBeSeenAsAsync(On("director").Arriving.Syn(from: "rs2", to: Website));
        await listed.ShouldNotBeSeenAsync(On("director").Leaving.SynAck());
        await (await Rs2.AskAsync("director:8411")).ShouldBeAnsweredByAsync("director");
        await (await Rs1.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-5")]
    public async Task The_address_of_the_explanation_is_not_the_listed_one()
    {
        await RunAsInTheArticleAsync(Director, "ipset create black hash:ip,port");
        await RunAsInTheArticleAsync(Director, "ipset add black 192.178.113.100,8410"); // as in the explanation
        await RunAsInTheArticleAsync(Director, BlackRule);

        await (await Rs2.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-6")]
    public async Task There_are_hashes_bitmaps_and_lists()
    {
        await RestoreAsync("create addresses hash:ip", "create ports bitmap:port range 0-65535", "create all list:set",
            "add all addresses");

        var listing = await Director.RunAsync("ipset list");

        listing.Split('\n').Where(l => l.StartsWith("Type: ", StringComparison.Ordinal))
            .ShouldBe(["Type: hash:ip", "Type: bitmap:port", "Type: list:set"], ignoreOrder: true);
    }

    [Test, Claim("IPS-7")]
    public async Task The_help_lists_the_types_of_sets()
    {
        var help = await RunAsInTheArticleAsync(Director, "ipset -h");

        foreach (var type in new[] { "hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:net", "bitmap:port", "list:set" })
            help.ShouldContain($"    {type}\t");
    }
}
