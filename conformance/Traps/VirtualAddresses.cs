using Conformance.Labs;
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

    [Test, Claim("TRAP-6"), Requires(Feature.IpvsMatch, Feature.IpvsConntrack)]
    public async Task Replies_to_one_port_of_a_client_come_from_one_virtual_address()
    {
        const int port = 35563;
        const string otherVip = "10.10.0.2";
        const string other = $"{otherVip}:8410";
        await SetUpServiceWithSnatAsync("rs1:8080");
        await Director.AddAddressAsync($"{otherVip}/32");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp(other).Masquerading("rs1:8080"));
        // Connection tracking gives each connection a port of its own towards the real server.
        await Director.RunAsync(SnatRule.Replace(Vip, otherVip, StringComparison.Ordinal));
        await using var first = await Client.ConnectAsync(Service, port);
        await first.ExchangeAsync(1000);

        await using var second = await Client.ConnectAsync(other, port);
        await second.ShouldBeAnsweredByAsync("rs1");

        Director.Conntrack().Count(e => e.Original.SourcePort == port).ShouldBe(2);
        await first.ShouldCarryNothingAsync();
        Lab.Wire.Packets().ShouldContain(p => p.Node == "client" && !p.IsLeaving && p.Packet.SourcePort == 8410
            && p.Packet.SourceAddress!.ToString() == otherVip && p.Packet.Payload.Length == 100,
            "the bytes that the server sent back on the first connection");
    }
}
