using Conformance.Labs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.DirectRouting;

/// <summary>A real server that is not in the director's network.</summary>
[Topology("tun")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class OtherNetwork(SetUpBy by) : SharedAddressFixture(by)
{
    [Test, Claim("DR-14")]
    public async Task A_router_sends_the_packet_back_until_its_life_ends()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));
        await Client.SetSysctlAsync("net.ipv4.ip_default_ttl", "9");

        var flow = await Client.AskAsync(SharedService);

        await flow.ShouldNotBeAnsweredAsync();
        await flow.ShouldNotBeSeenAsync(On("rs1").Arriving.Syn());
        var first = flow.ReadStory().Steps.First(s => s.Captured.Node == "client").Packet;
        Lab.Wire.Packets().Where(p => p.Node == "director" && !p.IsLeaving && p.Packet.Source?.Equals(first.Source) == true
            && p.Packet.Destination!.Equals(first.Destination)).Select(p => p.Packet.TimeToLive).Distinct().ShouldBe([8, 6, 4, 2]);
        await flow.ShouldBeSeenAsAsync(On("router").Leaving.Icmp(11, 0, to: "client"));
    }
}
