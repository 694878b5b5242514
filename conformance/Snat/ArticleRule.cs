using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Snat;

/// <summary>Article 1.2: the MASQUERADE rule with the ipvs match, and the sysctl without which it matches nothing.</summary>
[Topology("article-nat"), Requires(Feature.IpvsMatch, Feature.IpvsConntrack)]
public sealed class ArticleRule : ArticleFixture
{
    [Test, Claim("SNAT-2")]
    public async Task Rule_masquerades_only_packets_that_ipvs_forwards()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");
        await Director.Iptables.AddAsync(("nat", "-A POSTROUTING -m comment --comment after-the-rule"));

        var throughIpvs = await Client.AskAsync(Service);
        var fromDirector = await Director.AskAsync("rs2:8080");

        await throughIpvs.ShouldBeAnsweredByAsync("rs1");
        await throughIpvs.ShouldBeSeenByServerAsAsync("director");
        await throughIpvs.ShouldBeSeenAsAsync(
            On("director").Leaving.Syn(from: "director", to: "rs1:8080"),
            On("director").Arriving.SynAck(from: "rs1:8080", to: "director"),
            On("client").Arriving.SynAck(from: Service, to: "client"));
        await fromDirector.ShouldBeAnsweredByAsync("rs2");
        (await MasqueradedAsync()).ShouldBe(1, "the first packet of the one connection through IPVS");
        (await Director.Iptables.PacketsAsync("after-the-rule")).ShouldBe(1, "the director's own connection does not match the rule");
    }

    [Test, Claim("SNAT-3")]
    public async Task Until_the_sysctl_is_set_the_rule_sees_no_packet()
    {
        await SetUpServiceAsync("rs1:8080");
        await RunAsInTheArticleAsync(Director, SnatRule);

        var before = await Client.AskAsync(Service, sourcePort: 35561);
        await before.ShouldTimeOutAsync();
        await before.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(from: "client", to: "rs1:8080"));
        (await MasqueradedAsync())
            .ShouldBe(0, "with net.ipv4.vs.conntrack=0 IPVS marks its packets untracked, and these never enter the nat table");

        await RunAsInTheArticleAsync(Director, "sysctl net.ipv4.vs.conntrack=1");

        var after = await Client.AskAsync(Service, sourcePort: 35562);
        await after.ShouldBeAnsweredByAsync("rs1");
        await after.ShouldBeSeenByServerAsAsync("192.168.113.101:35562");
        (await MasqueradedAsync()).ShouldBe(1);
    }

    [Test, Claim("SNAT-4")]
    public async Task Real_servers_never_see_the_client_address()
    {
        await SetUpServiceWithSnatAsync("rs1:8080", "rs2:8080");

        for (var i = 0; i < 4; i++)
            await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1", "rs2");

        var peers = Rs1.Servers.Concat(Rs2.Servers).SelectMany(s => s.Peers).Select(p => p.Address).ToList();
        peers.Count.ShouldBe(4);
        peers.ShouldAllBe(address => address.Equals(Director.Address));
    }

    private async Task<long> MasqueradedAsync() =>
        (await Director.Iptables.CountersAsync()).Where(r => r.Target == "MASQUERADE").ShouldHaveSingleItem().Packets;
}
