using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Traps;

/// <summary>What fools people who set net.ipv4.vs.conntrack and look at the result.</summary>
[Requires(Feature.IpvsConntrack)]
public sealed class ConntrackTraps : ArticleFixture
{
    [Test, Claim("TRAP-1"), Topology("routed-nat")]
    public async Task The_sysctl_alone_makes_no_entries_and_any_rule_switches_them_on()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");

        await (await Client.AskAsync(Service, sourcePort: 35561)).ShouldBeAnsweredByAsync("rs1");
        Director.Conntrack().ShouldBeEmpty();

        await Director.Iptables.AddAsync(("filter", "-A INPUT -s 203.0.113.1 -m conntrack --ctstate INVALID -j DROP"));

        await (await Client.AskAsync(Service, sourcePort: 35562)).ShouldBeAnsweredByAsync("rs1");
        Director.Conntrack().ShouldHaveSingleItem().Original.SourcePort.ShouldBe(35562);
    }

    [Test, Claim("TRAP-2"), Topology("article-nat"), Requires(Feature.IpvsMatch)]
    public async Task The_same_source_port_still_fails_after_the_sysctl_is_set_and_a_new_one_works()
    {
        await SetUpServiceAsync("rs1:8080");
        await RunAsInTheArticleAsync(Director, SnatRule);
        await (await Client.AskAsync(Service, sourcePort: 35561)).ShouldTimeOutAsync();

        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");

        var samePort = await Client.AskAsync(Service, sourcePort: 35561);
        await samePort.ShouldTimeOutAsync();
        await samePort.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(from: "192.168.113.102:35561", to: "rs1:8080"));
        Director.IpvsConnections().ShouldHaveSingleItem().ExpiresInSeconds.ShouldBeInRange(1, 60,
            "the entry keeps the sysctl's value of its creation until it expires");
        await (await Client.AskAsync(Service, sourcePort: 35562)).ShouldBeAnsweredByAsync("rs1");
    }
}
