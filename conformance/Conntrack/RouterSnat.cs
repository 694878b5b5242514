using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Conntrack;

/// <summary>Article 1.3: the router at home. Here the director routes, the client's side is the outside, and IPVS has no part.</summary>
[Topology("routed-nat")]
public sealed class RouterSnat : ConformanceFixture
{
    [Test, Claim("CT-1")]
    public async Task Connection_tracking_brings_replies_back_to_the_host_behind_the_router()
    {
        await Director.Iptables.AddAsync(("nat", "-A POSTROUTING -s 172.16.0.0/24 -o ens33 -j MASQUERADE"));
        Client.Serve(TransportProtocol.Tcp, 80);

        await using var first = await Rs1.ConnectAsync("client:80", sourcePort: 40000);
        await using var second = await Rs2.ConnectAsync("client:80", sourcePort: 40000);

        foreach (var flow in new[] { first, second })
        {
            await flow.ShouldBeAnsweredByAsync("client");
            await flow.ShouldBeSeenByServerAsAsync("director");
        }
        first.Answer!.SeenPeer.ShouldNotBe(second.Answer!.SeenPeer, "both are open, and only the router's port tells them apart");
        await first.ShouldBeSeenAsAsync(
            On("director").Leaving.Syn(from: "192.168.113.101", to: "client:80"),
            On("director").Arriving.SynAck(from: "client:80", to: "192.168.113.101"),
            On("director").Leaving.SynAck(from: "client:80", to: "rs1:40000"),
            On("rs1").Arriving.SynAck(from: "client:80", to: "rs1:40000"));
        await second.ShouldBeSeenAsAsync(On("rs2").Arriving.SynAck(from: "client:80", to: "rs2:40000"));
    }
}
