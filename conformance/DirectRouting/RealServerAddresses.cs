using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.DirectRouting;

/// <summary>What direct routing asks of the real servers, and what it can and cannot do.</summary>
[Topology("dr")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class RealServerAddresses(SetUpBy by) : SharedAddressFixture(by)
{
    private const string Datagrams = "192.168.113.50:8053";

    [Test, Claim("DR-1")]
    public async Task The_real_server_has_the_port_of_the_virtual_server()
    {
        Rs1.Serve(TransportProtocol.Tcp, 8410);
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp($"{SharedVip}:8410").Routing("rs1:8080"));

        var flow = await Client.AskAsync($"{SharedVip}:8410");

        Director.IpvsTable().VirtualServers.ShouldHaveSingleItem().RealServers.ShouldHaveSingleItem().Port.ShouldBe((ushort)8410);
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(from: "client", to: $"{SharedVip}:8410"));
    }

    [Test, Claim("DR-2")]
    public async Task A_real_server_asks_by_arp_with_the_virtual_address_by_default()
    {
        await SetUpRealServersAsync(hidden: true, Rs1, Rs2);
        await Rs1.SetSysctlAsync("net.ipv4.conf.all.arp_announce", "0");
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"));

        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredAsync();
        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredAsync();

        SendersOf("rs1").ShouldBe([SharedVip]);
        SendersOf("rs2").ShouldBe([Rs2.Address.ToString()]);

        IEnumerable<string> SendersOf(string node) => Lab.Wire.Packets().Where(p => p.Node == node && p.IsLeaving)
            .Select(p => p.Packet.Arp).OfType<Packets.ArpMessage>()
            .Where(a => a.IsRequest && a.Target.ToString() == "192.168.113.1").Select(a => a.Sender.ToString()).Distinct();
    }

    [Test, Claim("DR-3")]
    public async Task Datagrams_are_served_as_well()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        Rs1.Serve(TransportProtocol.Udp, 8053, SharedVip);
        await SetUpDirectorAsync(VirtualServerSpec.Udp(Datagrams).Routing("rs1:8053"));

        var flow = await Client.AskUdpAsync(Datagrams);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Udp(from: "client", to: Datagrams),
            On("rs1").Leaving.Udp(from: Datagrams, to: "client"));
        await flow.ShouldNotBeSeenAsync(On("director").Udp(from: Datagrams));
    }

    [Test, Claim("DR-4")]
    public async Task With_ipv6_a_real_server_answers_for_its_links_only()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService6).Routing("[fd00:113::99]:8080"));

        var flow = await Client.AskAsync(SharedService6);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("director").Leaving.Syn(to: SharedService6), On("rs1").Arriving.Syn(to: SharedService6),
            On("rs1").Leaving.SynAck(from: SharedService6));
        var answers = Lab.Wire.Packets().Where(p => p.Node == "rs1" && p.IsLeaving && p.Packet.Icmp?.Type == 136).ToList();
        answers.ShouldNotContain(p => p.Packet.SourceAddress!.ToString() == SharedVip6, "no neighbour advertisement of the address");
    }

    [Test, Claim("DR-5")]
    public async Task The_director_can_be_a_real_server_itself()
    {
        Director.Serve(TransportProtocol.Tcp, 8080);
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("director:8080", "rs1:8080"));

        List<string?> servers = [];
        for (var i = 0; i < 4; i++)
            servers.Add((await Client.AskAsync(SharedService)).Answer?.Server);

        servers.Count(s => s == "director").ShouldBe(2);
        servers.Count(s => s == "rs1").ShouldBe(2);
        Lab.Wire.Packets().ShouldNotContain(p => p.Node == "rs1" && p.Packet.DestinationPort == 8080 && p.Packet.DestinationAddress!.Equals(
            Director.Address));
    }

    [Test, Claim("DR-6")]
    public async Task The_director_is_a_hop_and_reports_a_packet_whose_life_ends()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));

        var flow = await Client.AskAsync(SharedService);
        await flow.ShouldBeAnsweredByAsync("rs1");
        var steps = flow.ReadStory().Steps.Where(s => s.Captured.Node == "director").ToList();
        steps.First(s => s.Captured.IsLeaving).Packet.TimeToLive
            .ShouldBe(steps.First(s => !s.Captured.IsLeaving).Packet.TimeToLive - 1);

        await Client.SetSysctlAsync("net.ipv4.ip_default_ttl", "2");
        var short2 = await Client.AskAsync(SharedService);
        await short2.ShouldBeSeenAsAsync(On("director").Leaving.Icmp(11, 0, to: "client"));
        await short2.ShouldNotBeSeenAsync(On("rs1").Syn());
    }

    [Test, Claim("DR-7")]
    public async Task A_real_server_that_asks_the_virtual_address_reaches_itself()
    {
        await SetUpRealServersAsync(hidden: true, Rs1, Rs2);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs2:8080"));

        var flow = await Rs1.AskAsync(SharedService);

        await flow.ShouldBeAnsweredByAsync("rs1");
        Director.IpvsConnections().ShouldBeEmpty();
    }

    [Test, Claim("DR-8")]
    public async Task Nat_and_direct_routing_serve_in_one_virtual_server()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await Director.SetSysctlAsync("net.ipv4.ip_forward", "1");
        await Rs2.DeleteRouteAsync("0.0.0.0/0");
        await Rs2.AddRouteAsync("0.0.0.0/0", via: Director);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080").Masquerading("rs2:8080"));

        var flows = new[] { await Client.AskAsync(SharedService), await Client.AskAsync(SharedService) };

        flows.Select(f => f.Answer?.Server).ShouldBe(["rs1", "rs2"], ignoreOrder: true);
        var routed = flows.Single(f => f.Answer?.Server == "rs1");
        await routed.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(to: SharedService));
        await routed.ShouldNotBeSeenAsync(On("director").SynAck());
        var translated = flows.Single(f => f.Answer?.Server == "rs2");
        await translated.ShouldBeSeenAsAsync(On("rs2").Arriving.Syn(to: "rs2:8080"), On("director").Leaving.SynAck(from: SharedService));
    }

    [Test, Claim("DR-9")]
    public async Task A_large_datagram_reaches_the_real_server_in_fragments()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        Rs1.Serve(TransportProtocol.Udp, 8053, SharedVip);
        await SetUpDirectorAsync(VirtualServerSpec.Udp(Datagrams).Routing("rs1:8053"));

        var flow = await Client.AskUdpAsync(Datagrams, size: 4000);

        await flow.ShouldBeAnsweredByAsync("rs1");
        Lab.Wire.Packets().Count(p => p.Node == "rs1" && !p.IsLeaving && p.Packet is { IsFragment: true, IsIp: true } fragment
            && fragment.DestinationAddress!.ToString() == SharedVip).ShouldBe(3);
    }
}
