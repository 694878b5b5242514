using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Tunnelling;

/// <summary>Sizes, sources and filters of tunnels.</summary>
[Topology("tun"), Requires(Feature.IpInIp)]
public sealed class TunnelEdges() : SharedAddressFixture(SetUpBy.Ipvsadm)
{
    [Test, Claim("TUN-7")]
    public async Task A_packet_that_grows_too_large_is_reported_with_the_size_that_fits()
    {
        await SetUpTunnelAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));

        await using var flow = await Client.ConnectAsync(SharedService);
        await flow.ExchangeAsync(50_000);

        await flow.ShouldBeSeenAsAsync(On("director").Leaving.Icmp(3, 4, to: "client"));
        var report = flow.ReadStory().Steps.First(s => s.Packet.Icmp is { Type: 3, Code: 4 }).Packet.Icmp!;
        report.SequenceNumber.ShouldBe((ushort)1480, "the MTU without the outer header");
        report.Quoted!.MayNotFragment.ShouldBeTrue();
        flow.ReadStory().Steps.Where(s => s.Packet.Inner is not null).ShouldAllBe(s => s.Packet.MayNotFragment);
    }

    [Test, Claim("TUN-8")]
    public async Task Without_path_mtu_discovery_the_director_fragments_the_tunnel_packets()
    {
        await SetUpTunnelAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));
        await Director.SetSysctlAsync("net.ipv4.vs.pmtu_disc", "0");

        await using var flow = await Client.ConnectAsync(SharedService);
        await flow.ExchangeAsync(50_000);

        await flow.ShouldNotBeSeenAsync(On("director").Leaving.Icmp(3, 4));
        Lab.Wire.Packets().ShouldContain(p => p.Node == "director" && p.IsLeaving && p.Packet.IsFragment
            && p.Packet.DestinationAddress!.Equals(Rs1.Address));
    }

    [Test, Claim("TUN-9")]
    public async Task Reverse_path_filtering_on_the_tunnel_device_drops_the_packet()
    {
        await SetUpTunnelAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));
        await Rs1.SetSysctlAsync("net.ipv4.conf.tunl0.rp_filter", "1");

        var filtered = await Client.AskAsync(SharedService);
        await Rs1.SetSysctlAsync("net.ipv4.conf.tunl0.rp_filter", "0");
        var open = await Client.AskAsync(SharedService);

        await filtered.ShouldBeMetWithSilenceAsync();
        await filtered.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(to: SharedService).Inside(to: "rs1"));
        await open.ShouldBeAnsweredByAsync("rs1");
    }

    [Test, Claim("TUN-10")]
    public async Task The_outer_source_is_that_of_the_route_to_the_real_server()
    {
        await Director.AddAddressAsync("192.168.113.201/24");
        await Director.RunAsync($"ip route add {Rs1.Address} via 192.168.113.1 src 192.168.113.201");
        await SetUpTunnelAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));

        var flow = await Client.AskAsync(SharedService);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn().Inside(from: "192.168.113.201", to: "rs1"));
    }

    [Test, Claim("TUN-11")]
    public async Task A_real_server_that_drops_out_of_its_route_is_not_reached_otherwise()
    {
        await SetUpTunnelAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));
        await Director.RunAsync($"ip route add unreachable {Rs1.Address}");

        var flow = await Client.AskAsync(SharedService);

        await flow.ShouldNotBeAnsweredAsync();
        await flow.ShouldNotBeSeenAsync(On("director").Leaving.Syn().Inside());
    }

    [Test, Claim("TUN-12")]
    public async Task Tunnelling_and_direct_routing_serve_in_one_virtual_server()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await OpenTunnelsAsync(Rs1);
        Director.Serve(Linux.TransportProtocol.Tcp, 8080);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080").Routing("director:8080"));

        var servers = new[] { (await Client.AskAsync(SharedService)).Answer?.Server,
            (await Client.AskAsync(SharedService)).Answer?.Server };

        servers.ShouldBe(["rs1", "director"], ignoreOrder: true);
    }

    [Test, Claim("TUN-14")]
    public async Task The_inner_packet_passes_input_and_the_outer_one_output()
    {
        await SetUpTunnelAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080"));
        await CountChainsAsync(Director);
        await CountChainsAsync(Director, "outer", $"-p ipencap -d {Rs1.Address}");

        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredByAsync("rs1");

        (await ChainsPassedAsync(Director, "request")).ShouldBe(["PREROUTING", "INPUT"]);
        (await ChainsPassedAsync(Director, "outer")).ShouldBe(["OUTPUT", "POSTROUTING"]);
        (await ChainsPassedAsync(Director, "reply")).ShouldBeEmpty();
    }

    private async Task SetUpTunnelAsync(VirtualServerSpec server)
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenTunnelsAsync(Rs1);
        await SetUpDirectorAsync(server);
    }
}
