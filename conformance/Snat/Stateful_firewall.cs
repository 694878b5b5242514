using Conformance.Harness.Assertions;
using Conformance.Harness.Traffic;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;

namespace Conformance.Suite.Snat;

/// <summary>What the article leaves out: the sysctl also decides whether a stateful firewall lets replies pass.</summary>
[Topology("routed-nat"), Requires(Feature.IpvsConntrack)]
public sealed class Stateful_firewall : ArticleFixture
{
    [Test, Claim("SNAT-5")]
    public async Task Replies_are_invalid_to_conntrack_until_the_sysctl_is_set()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.Iptables.AddAsync(("filter", "-A FORWARD -m conntrack --ctstate INVALID -m comment --comment invalid -j DROP"));

        var before = await Client.AskAsync(Service);
        before.ShouldBeMetWithSilence();
        before.ShouldBeSeenAs(On("director").Arriving.SynAck(from: "rs1:8080", to: "client"));
        before.ShouldNotBeSeen(On("director").Leaving.SynAck());
        (await Director.Iptables.PacketsAsync("invalid")).ShouldBePositive();

        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");

        (await Client.AskAsync(Service)).ShouldBeAnsweredBy("rs1");
    }
}
