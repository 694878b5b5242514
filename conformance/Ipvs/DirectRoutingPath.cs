using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvs;

/// <summary>Article 1.2: the way of a packet through direct routing.</summary>
[Topology("dr")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class DirectRoutingPath(SetUpBy by) : SharedAddressFixture(by)
{
    [Test, Claim("VS-10")]
    public async Task Only_the_frame_is_addressed_to_the_real_server()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));

        var flow = await Client.AskAsync(SharedService);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenByServerAsAsync("client");
        await flow.ShouldBeSeenAsAsync(
            On("director").Arriving.Syn(from: "client", to: SharedService),
            On("director").Leaving.Syn(from: "client", to: SharedService),
            On("rs1").Arriving.Syn(from: "client", to: SharedService));
        var arrived = flow.ReadStory().Steps.First(s => s.Captured is { Node: "rs1", IsLeaving: false }).Packet;
        (arrived.SourceMac, arrived.DestinationMac).ShouldBe((MacOf(Director), MacOf(Rs1)));
    }

    [Test, Claim("VS-11")]
    public async Task A_real_server_without_the_virtual_address_drops_the_packet()
    {
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));

        var without = await Client.AskAsync(SharedService);
        await SetUpRealServersAsync(hidden: true, Rs1);
        var with = await Client.AskAsync(SharedService);

        await without.ShouldBeMetWithSilenceAsync();
        await without.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(from: "client", to: SharedService));
        await without.ShouldNotBeSeenAsync(On("rs1").Leaving.SynAck());
        await with.ShouldBeAnsweredByAsync("rs1");
    }

    [Test, Claim("VS-11")]
    public async Task A_real_server_that_does_not_hide_the_address_answers_for_it()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await SetUpRealServersAsync(hidden: true, Rs2);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"));

        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredAsync();

        await Eventually.Async("director and rs1 say by ARP that they have the virtual address", () => Lab.Wire.Packets()
            .Where(p => p.Node == "router" && p.Packet.Arp is { IsRequest: false } arp && arp.Sender.ToString() == SharedVip)
            .Select(p => p.Packet.Arp!.SenderMac).ToHashSet(), macs => macs.SetEquals([MacOf(Director), MacOf(Rs1)]));
    }

    [Test, Claim("VS-12")]
    public async Task A_director_that_is_the_gateway_drops_replies_from_its_own_address()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));
        await Director.SetSysctlAsync("net.ipv4.ip_forward", "1");
        await Rs1.DeleteRouteAsync("0.0.0.0/0");
        await Rs1.AddRouteAsync("0.0.0.0/0", via: Director);

        var martian = await Client.AskAsync(SharedService);
        await martian.ShouldTimeOutAsync();
        await martian.ShouldBeSeenAsAsync(On("director").Arriving.SynAck(from: SharedService, to: "client"));
        await martian.ShouldNotBeSeenAsync(On("director").Leaving.SynAck()); // what comes later is forwarded

        await Director.SetSysctlAsync("net.ipv4.conf.all.accept_local", "1");
        await Director.SetSysctlAsync($"net.ipv4.conf.{Director.Device}.send_redirects", "0");
        await Director.SetSysctlAsync("net.ipv4.conf.all.send_redirects", "0");
        var accepted = await Client.AskAsync(SharedService);

        await accepted.ShouldBeAnsweredByAsync("rs1");
        await accepted.ShouldBeSeenAsAsync(On("director").Leaving.SynAck(from: SharedService, to: "client"));
    }

    [Test, Claim("VS-14")]
    public async Task Only_requests_load_the_director()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));

        await using var flow = await ShouldLoadRequestsOnlyAsync();
        await flow.ShouldNotBeSeenAsync(On("director").SynAck());
    }
}
