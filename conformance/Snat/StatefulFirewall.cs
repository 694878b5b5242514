using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Snat;

/// <summary>What the article leaves out: the sysctl also decides whether a stateful firewall lets replies pass.</summary>
[Topology("routed-nat"), Requires(Feature.IpvsConntrack)]
public sealed class StatefulFirewall : ArticleFixture
{
    [Test, Claim("SNAT-5")]
    public async Task Replies_are_invalid_to_conntrack_until_the_sysctl_is_set()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.Iptables.AddAsync(("filter", "-A FORWARD -m conntrack --ctstate INVALID -m comment --comment invalid -j DROP"));

        var before = await Client.AskAsync(Service);
        await before.ShouldBeMetWithSilenceAsync();
        await before.ShouldBeSeenAsAsync(On("director").Arriving.SynAck(from: "rs1:8080", to: "client"));
        await before.ShouldNotBeSeenAsync(On("director").Leaving.SynAck());
        (await Director.Iptables.PacketsAsync("invalid")).ShouldBePositive();

        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");

        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");
    }
}
