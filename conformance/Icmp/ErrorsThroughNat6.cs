using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Icmp;

/// <summary>The same for IPv6: errors of ICMPv6 (RFC 4443) and sizes.</summary>
[Topology("routed-nat")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class ErrorsThroughNat6(SetUpBy by) : DirectorFixture(by)
{
    private const string Vip6 = "fd00:10::1";
    private const string Service6 = "[fd00:10::1]:8410";
    private const string Rs1V6 = "fd00:16::99";

    [SetUp]
    public Task AddVirtualAddress() => Director.AddAddressAsync($"{Vip6}/64");

    [Test, Claim("ICMP-9")]
    public async Task An_error_of_the_real_server_does_not_pass_the_director()
    {
        await AddAsync(VirtualServerSpec.Udp(Service6).Masquerading($"[{Rs1V6}]:9"));

        var flow = await Client.AskUdpAsync(Service6);

        await flow.ShouldBeSeenAsAsync(On("rs1").Leaving.Icmp(1, 4, from: Rs1V6), On("director").Arriving.Icmp(1, 4, from: Rs1V6));
        if (flow.Outcome.IsRefusal)
        {
            await flow.ShouldMeetIcmpAsync(1, 4, by: "rs1");
            flow.Outcome.From!.ToString().ShouldBe(Vip6);
            Not.Testable($"the kernel {KernelFeatures.Current.Release} knows the pseudo-header: the error reaches the client");
        }
        await flow.ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("ICMP-10")]
    public async Task A_packet_that_is_too_large_is_reported_by_the_director()
    {
        foreach (var (node, device) in new[] { (Director, "ens34"), (Rs1, Rs1.Device) })
            await node.RunAsync($"ip link set {device} mtu 1400");
        await AddAsync(VirtualServerSpec.Tcp(Service6).Masquerading($"[{Rs1V6}]:8080"));
        await Rs1.RunAsync("ip -6 route replace default via fd00:16::1 advmss 1440"); // else it asks for small segments itself

        await using var flow = await Client.ConnectAsync(Service6);
        await flow.ExchangeAsync(50_000);

        await flow.ShouldBeSeenAsAsync(On("client").Arriving.Icmp(2, 0));
        flow.ReadStory().Steps.First(s => s.Captured.Node == "client" && s.Packet.Icmp is { Type: 2 }).Packet.Icmp!
            .Quoted!.Destination!.ToString().ShouldBe(Service6);
    }

    [Test, Claim("ICMP-11")]
    public async Task A_packet_whose_life_ends_at_the_director_is_reported()
    {
        await AddAsync(VirtualServerSpec.Udp(Service6).Masquerading($"[{Rs1V6}]:8080"));
        await Client.SetSysctlAsync($"net.ipv6.conf.{Client.Device}.hop_limit", "1");

        var flow = await Client.AskUdpAsync(Service6);

        await flow.ShouldBeSeenAsAsync(On("client").Arriving.Icmp(3, 0));
        await flow.ShouldNotBeSeenAsync(On("rs1").Udp());
    }

    [Test, Claim("ICMP-12")]
    public async Task Fragments_reach_one_real_server_and_the_client()
    {
        await AddAsync(VirtualServerSpec.Udp(Service6).Masquerading($"[{Rs1V6}]:8080", "[fd00:16::100]:8080"));

        var flow = await Client.AskUdpAsync(Service6, size: 4000);

        await flow.ShouldBeAnsweredAsync();
        Fragments().Where(p => p.Node.StartsWith("rs", StringComparison.Ordinal) && !p.IsLeaving).Select(p => p.Node)
            .ShouldBe(Enumerable.Repeat(flow.Answer!.Server, 3));
        Fragments().Where(p => p is { Node: "client", IsLeaving: false }).Select(p => p.Packet.SourceAddress!.ToString())
            .ShouldBe([Vip6, Vip6, Vip6]);

        IEnumerable<Packets.CapturedPacket> Fragments() => Lab.Wire.Packets().Where(p => p.Packet is { IsIp: true, IsFragment: true });
    }
}
