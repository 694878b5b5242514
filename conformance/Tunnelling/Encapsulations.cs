using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Tunnelling;

/// <summary>How packets are wrapped, in both families.</summary>
[Topology("tun")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class Encapsulations(SetUpBy by) : SharedAddressFixture(by)
{
    private const string Rs1V6 = "[fd00:20::99]:8080";

    [Test, Claim("TUN-1"), Requires(Feature.Gue)]
    public async Task Gue_wraps_packets_in_udp_without_a_checksum()
    {
        var flow = await AskThroughGueAsync(Encapsulation.Gue);

        LengthOfHeaders(flow).ShouldBe(20 + 8 + 4, "IP, UDP and GUE");
        OuterOf(flow).UdpChecksum.ShouldBe(0);
    }

    [Test, Claim("TUN-2"), Requires(Feature.Gue)]
    public async Task Gue_wraps_packets_in_udp_with_a_checksum()
    {
        var flow = await AskThroughGueAsync(Encapsulation.GueChecksum);

        OuterOf(flow).UdpChecksum.ShouldNotBe(0);
    }

    [Test, Claim("TUN-3"), Requires(Feature.Gre)]
    public async Task Gre_wraps_packets_without_a_checksum()
    {
        var flow = await AskThroughGreAsync(Encapsulation.Gre);

        LengthOfHeaders(flow).ShouldBe(20 + 4, "IP and GRE");
    }

    [Test, Claim("TUN-4"), Requires(Feature.Gre)]
    public async Task Gre_wraps_packets_with_a_checksum()
    {
        var flow = await AskThroughGreAsync(Encapsulation.GreChecksum);

        LengthOfHeaders(flow).ShouldBe(20 + 8, "IP and GRE; the checksum takes four bytes more");
        (OuterOf(flow).Payload.Span[0] & 0x80).ShouldBe(0x80);
    }

    [Test, Claim("TUN-5"), Requires(Feature.IPv6Tunnel)]
    public async Task Packets_of_ipv4_reach_a_real_server_of_ipv6()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenIPv6TunnelAsync();
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling(Rs1V6));

        var flow = await Client.AskAsync(SharedService);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(
            On("director").Leaving.Syn(from: "client", to: SharedService).Inside(from: "fd00:113::101", to: "fd00:20::99"),
            On("rs1").Leaving.SynAck(from: SharedService, to: "client"));
    }

    [Test, Claim("TUN-6"), Requires(Feature.IPv6Tunnel)]
    public async Task Packets_of_ipv6_travel_in_ipv6()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenIPv6TunnelAsync();
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService6).Tunnelling(Rs1V6));

        var flow = await Client.AskAsync(SharedService6);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(
            On("director").Leaving.Syn(to: SharedService6).Inside(from: "fd00:113::101", to: "fd00:20::99"),
            On("rs1").Leaving.SynAck(from: SharedService6));
    }

    [Test, Claim("TUN-13"), Requires(Feature.IPv6Tunnel)]
    public async Task A_virtual_address_of_ipv6_that_is_not_deprecated_is_the_outer_source()
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenIPv6TunnelAsync();
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService6).Tunnelling(Rs1V6));
        // Before the first flow: IPVS keeps the source for a real server. That it answers otherwise is shown by TUN-6.
        await Director.RunAsync($"ip addr change {SharedVip6}/128 dev {Director.Device} preferred_lft forever");

        var flow = await Client.AskAsync(SharedService6);

        await flow.ShouldBeMetWithSilenceAsync();
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(to: SharedService6).Inside(from: SharedVip6, to: "fd00:20::99"));
    }

    private async Task<Flow> AskThroughGueAsync(Encapsulation encapsulation)
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        await OpenTunnelsAsync(Rs1);
        await Rs1.RunAsync("modprobe fou");
        await Rs1.RunAsync("ip fou add port 6080 gue");
        return await AskThroughAsync(encapsulation);
    }

    private async Task<Flow> AskThroughGreAsync(Encapsulation encapsulation)
    {
        await SetUpRealServersAsync(hidden: false, Rs1);
        // A device takes only packets with a checksum, or only packets without one.
        await Rs1.RunAsync($"ip link add gre1 type gre local {Rs1.Address}{(encapsulation == Encapsulation.GreChecksum ? " icsum" : "")}");
        await Rs1.RunAsync("ip link set gre1 up");
        return await AskThroughAsync(encapsulation);
    }

    private async Task<Flow> AskThroughAsync(Encapsulation encapsulation)
    {
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("rs1:8080").By(encapsulation));
        var flow = await Client.AskAsync(SharedService);
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(from: "client", to: SharedService).Inside(from: "director", to: "rs1"),
            On("rs1").Leaving.SynAck(from: SharedService, to: "client"));
        return flow;
    }

    private async Task OpenIPv6TunnelAsync()
    {
        // The module's own device ip6tnl0 takes IPv6 alone.
        await Rs1.RunAsync("ip link add any6 type ip6tnl mode any local fd00:20::99 remote ::");
        await Rs1.RunAsync("ip link set any6 up");
    }

    private static int? LengthOfHeaders(Flow flow) => OuterOf(flow).Length - OuterOf(flow).Inner!.Length;

    /// <summary>
    /// The first tunnel packet as the director sent it: the real server's kernel unwraps it in place, and shortens what is captured there.
    /// </summary>
    private static Packets.Packet OuterOf(Flow flow) =>
        flow.ReadStory().Steps.First(s => s.Captured is { Node: "director", IsLeaving: true } && s.Packet.Inner is not null).Packet;
}
