using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Traps;

/// <summary>The behaviour of a virtual address itself.</summary>
[Topology("article-nat"), Requires(Feature.Ipset)]
public sealed class VirtualAddresses : ArticleFixture
{
    [Test, Claim("TRAP-5")]
    public async Task A_virtual_address_answers_ping_until_new_packets_to_it_are_rejected()
    {
        Director.Route.AddDummy("kube-ipvs0");
        await Director.AddAddressAsync("10.10.0.1/32", "kube-ipvs0");
        await Client.AddRouteAsync("10.10.0.0/16", via: Director);

        await (await Client.PingAsync(Vip)).ShouldBeAnsweredAsync();

        await Director.RunAsync("ipset create KUBE-IPVS-IPS hash:ip");
        await Director.RunAsync($"ipset add KUBE-IPVS-IPS {Vip}");
        await Director.RunAsync("iptables -A INPUT -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT");

        await (await Client.PingAsync(Vip)).ShouldMeetIcmpAsync(type: 3, code: 3, by: "director");
        await (await Client.PingAsync("director")).ShouldBeAnsweredAsync();
    }
}
