using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Features;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvs;

/// <summary>Article 1.2: the way of a packet through a tunnel.</summary>
[Topology("tun"), Requires(Feature.IpInIp)]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class TunnelPath(SetUpBy by) : SharedAddressFixture(by)
{
    [Test, Claim("VS-13")]
    public async Task A_packet_to_the_real_server_carries_the_packet_of_the_client()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenTunnelsAsync(Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));

        var flow = await Client.AskAsync(SharedService);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenByServerAsAsync("client");
        await flow.ShouldBeSeenAsAsync(
            On("director").Arriving.Syn(from: "client", to: SharedService),
            On("director").Leaving.Syn(from: "client", to: SharedService).Inside(from: "director", to: "rs1"),
            On("rs1").Arriving.Syn(from: "client", to: SharedService).Inside(from: "director", to: "rs1"),
            On("rs1").Leaving.SynAck(from: SharedService, to: "client"),
            On("client").Arriving.SynAck(from: SharedService, to: "client"));
        await flow.ShouldNotBeSeenAsync(On("director").SynAck());
    }

    [Test, Claim("VS-13")]
    public async Task Without_a_tunnel_device_that_is_up_the_client_is_refused()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await Rs1.RunAsync("modprobe ipip"); // tunl0 is there, and down
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));

        var closed = await Client.AskAsync(SharedService);
        await OpenTunnelsAsync(Rs1);
        var open = await Client.AskAsync(SharedService);

        await closed.ShouldBeSeenAsAsync(On("rs1").Leaving.Icmp(3, 3, from: "rs1", to: "director"),
            On("director").Leaving.Icmp(3, 3, from: SharedVip, to: "client"));
        await closed.ShouldBeRefusedAsync();
        await open.ShouldBeAnsweredByAsync("rs1");
    }

    [Test, Claim("VS-12")]
    public async Task A_reply_through_the_director_is_dropped_for_its_source()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenTunnelsAsync(Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));
        await Director.SetSysctlAsync("net.ipv4.ip_forward", "1");
        await Lab["router"].RunAsync($"ip rule add iif ens35 to {Client.Address} lookup 100");
        await Lab["router"].RunAsync($"ip route add default via {Director.Address} table 100");

        var martian = await Client.AskAsync(SharedService);
        await Director.SetSysctlAsync("net.ipv4.conf.all.accept_local", "1");
        var accepted = await Client.AskAsync(SharedService);

        await martian.ShouldTimeOutAsync();
        await martian.ShouldBeSeenAsAsync(On("director").Arriving.SynAck(from: SharedService, to: "client"));
        await accepted.ShouldBeAnsweredByAsync("rs1");
        await accepted.ShouldBeSeenAsAsync(On("director").Leaving.SynAck(from: SharedService, to: "client"));
    }

    [Test, Claim("VS-14")]
    public async Task Only_requests_load_the_director()
    {
        await Client.RunAsync("ip route replace default via 172.16.0.1 mtu 1400"); // or the director reports packets that are too large
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenTunnelsAsync(Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));

        await using var flow = await ShouldLoadRequestsOnlyAsync();
    }

    [Test, Claim("VS-15")]
    public async Task A_real_server_behind_a_router_is_reached_through_a_tunnel_only()
    {
        await SetUpRealServersAsync(hidden: false, Rs1, Rs2);
        await OpenTunnelsAsync(Rs1, Rs2);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"),
            VirtualServerSpec.Tcp($"{SharedVip}:8081").Tunnelling("rs2:8081"));
        Rs2.Serve(Linux.TransportProtocol.Tcp, 8081);

        var routed = await Client.AskAsync(SharedService);
        var tunnelled = await Client.AskAsync($"{SharedVip}:8081");

        await routed.ShouldNotBeAnsweredAsync();
        await routed.ShouldBeSeenAsAsync(On("director").Leaving.Syn(to: SharedService), On("router").Arriving.Syn(to: SharedService));
        await routed.ShouldNotBeSeenAsync(On("rs1").Syn());
        await tunnelled.ShouldBeAnsweredByAsync("rs2");
    }
}
