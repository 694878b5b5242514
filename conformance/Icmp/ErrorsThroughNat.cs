using Conformance.Labs;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Icmp;

/// <summary>Errors, sizes and hops of packets that pass a NAT director.</summary>
[Topology("routed-nat")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class ErrorsThroughNat(SetUpBy by) : NatFixture(by)
{
    [Test, Claim("ICMP-1")]
    public async Task An_error_of_the_real_server_names_the_virtual_address()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:9"));

        var flow = await Client.AskUdpAsync(Service);

        await flow.ShouldMeetIcmpAsync(3, 3, by: "rs1");
        flow.Outcome.From!.ToString().ShouldBe(Vip);
        flow.Outcome.Icmp!.Quoted!.Destination!.ToString().ShouldBe(Service);
        await flow.ShouldBeSeenAsAsync(On("rs1").Leaving.Icmp(3, 3, from: "rs1", to: "client"),
            On("client").Arriving.Icmp(3, 3, from: Vip, to: "client"));
    }

    [Test, Claim("ICMP-2")]
    public async Task A_packet_that_is_too_large_for_the_way_behind_is_reported_by_the_director()
    {
        foreach (var (node, device) in new[] { (Director, "ens34"), (Rs1, Rs1.Device) })
            await node.RunAsync($"ip link set {device} mtu 1400");
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));
        await Rs1.RunAsync("ip route replace default via 172.16.0.1 advmss 1460"); // else the real server asks for small segments itself

        await using var flow = await Client.ConnectAsync(Service);
        await flow.ExchangeAsync(50_000);

        await flow.ShouldBeSeenAsAsync(On("client").Arriving.Icmp(3, 4, to: "client"));
        var report = flow.ReadStory().Steps.First(s => s.Captured.Node == "client" && s.Packet.Icmp is { Type: 3, Code: 4 }).Packet.Icmp!;
        report.SequenceNumber.ShouldBe((ushort)1400);
        report.Quoted!.Destination!.ToString().ShouldBe(Service);
    }

    [Test, Claim("ICMP-3")]
    public async Task The_director_is_one_hop_in_each_direction()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeAnsweredByAsync("rs1");
        foreach (var group in flow.ReadStory().Steps.GroupBy(s => s.Packet.TransportIdentity).Take(2))
            group.Last().Packet.TimeToLive.ShouldBe(group.First().Packet.TimeToLive - 1, group.First().Packet.ToString());
    }

    [Test, Claim("ICMP-4")]
    public async Task A_packet_whose_life_ends_at_the_director_is_reported()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080"));
        await Client.SetSysctlAsync("net.ipv4.ip_default_ttl", "1");

        var flow = await Client.AskUdpAsync(Service);

        await flow.ShouldMeetIcmpAsync(11, 0, by: "director");
        flow.Outcome.Icmp!.Quoted!.Destination!.ToString().ShouldBe(Service);
        await flow.ShouldNotBeSeenAsync(On("rs1").Udp());
    }

    [Test, Claim("ICMP-5")]
    public async Task Fragments_reach_one_real_server_and_the_client()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080", "rs2:8080"));

        var flow = await Client.AskUdpAsync(Service, size: 4000);

        await flow.ShouldBeAnsweredAsync();
        var server = flow.Answer!.Server;
        var fragments = Lab.Wire.Packets().Where(p => p.Node.StartsWith("rs", StringComparison.Ordinal) && !p.IsLeaving
            && p.Packet is { IsIp: true, IsFragment: true }).ToList();
        fragments.Count.ShouldBe(3);
        fragments.ShouldAllBe(p => p.Node == server);
        Lab.Wire.Packets().Where(p => p is { Node: "client", IsLeaving: false, Packet: { IsIp: true, IsFragment: true } })
            .Select(p => p.Packet.SourceAddress!.ToString()).ShouldBe([Vip, Vip, Vip]);
    }

    [Test, Claim("ICMP-6")]
    public async Task An_echo_request_to_the_virtual_address_is_answered_by_the_director()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));

        var flow = await Client.PingAsync(Vip);

        await flow.ShouldBeAnsweredAsync();
        Lab.Wire.Packets().ShouldNotContain(p => p.Node == "rs1" && p.Packet.Icmp != null);
    }

    [Test, Claim("ICMP-7")]
    public async Task An_error_of_a_router_behind_the_director_names_the_virtual_address()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("10.99.0.1:8080"));
        await Director.RunAsync("ip route add 10.99.0.0/24 via 172.16.0.99");
        await Rs1.SetSysctlAsync("net.ipv4.ip_forward", "1");
        await Rs1.RunAsync("ip route add unreachable 10.99.0.0/24");

        var flow = await Client.AskUdpAsync(Service);

        await flow.ShouldMeetIcmpAsync(3, 1, by: "rs1");
        flow.Outcome.Icmp!.Quoted!.Destination!.ToString().ShouldBe(Service);
    }

    [Test, Claim("ICMP-8")]
    public async Task A_client_that_has_gone_is_reported_to_the_real_server()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080"));
        await Client.RunAsync($"iptables -w -A INPUT -p udp -s {Vip} -j REJECT"); // port unreachable, as a socket that is closed

        await Client.AskUdpAsync(Service);

        Lab.Wire.Packets().Where(p => p.Node == "rs1" && !p.IsLeaving).Select(p => p.Packet.Icmp).OfType<Packets.IcmpMessage>()
            .ShouldContain(i => i.Type == 3 && i.Code == 3 && i.Quoted!.Source!.ToString() == "172.16.0.99:8080");
    }
}
