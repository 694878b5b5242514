using Conformance.Harness.Assertions;
using Conformance.Harness.Traffic;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;

namespace Conformance.Suite.Traps;

/// <summary>What fools people who set net.ipv4.vs.conntrack and look at the result.</summary>
[Requires(Feature.IpvsConntrack, Feature.ConntrackTable)]
public sealed class Conntrack_traps : ArticleFixture
{
    [Test, Claim("TRAP-1"), Topology("routed-nat")]
    public async Task The_sysctl_alone_makes_no_entries_and_any_rule_switches_them_on()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");

        (await Client.AskAsync(Service, sourcePort: 35561)).ShouldBeAnsweredBy("rs1");
        Director.Conntrack().ShouldBeEmpty();

        await Director.Iptables.AddAsync(("filter", "-A INPUT -s 203.0.113.1 -m conntrack --ctstate INVALID -j DROP"));

        (await Client.AskAsync(Service, sourcePort: 35562)).ShouldBeAnsweredBy("rs1");
        Director.Conntrack().ShouldHaveSingleItem().Original.SourcePort.ShouldBe(35562);
    }

    [Test, Claim("TRAP-2"), Topology("article-nat"), Requires(Feature.IpvsMatch)]
    public async Task The_same_source_port_still_fails_after_the_sysctl_is_set_and_a_new_one_works()
    {
        await SetUpServiceAsync("rs1:8080");
        await RunAsInTheArticleAsync(Director, SnatRule);
        (await Client.AskAsync(Service, sourcePort: 35561)).ShouldTimeOut();

        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");

        var samePort = await Client.AskAsync(Service, sourcePort: 35561);
        samePort.ShouldTimeOut();
        samePort.ShouldBeSeenAs(On("rs1").Arriving.Syn(from: "192.168.113.102:35561", to: "rs1:8080"));
        Director.IpvsConnections().ShouldHaveSingleItem().ExpiresInSeconds.ShouldBeInRange(1, 60, "the entry keeps the sysctl's value of its creation until it expires");
        (await Client.AskAsync(Service, sourcePort: 35562)).ShouldBeAnsweredBy("rs1");
    }
}
