using Conformance.Labs;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.BadLinks;

/// <summary>Links that lose, delay, reorder and repeat packets (tc-netem(8)), and devices without offload.</summary>
[Topology("routed-nat")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class LossAndDelay(SetUpBy by) : DirectorFixture(by)
{
    private const string ToServers = "ens34"; // of the director
    private static readonly VirtualServerSpec s_two = VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080", "rs2:8080");

    [SetUp]
    public Task AddVirtualAddress() => Director.AddAddressAsync($"{Vip}/24");

    [TestCase("loss 10%")]
    [TestCase("delay 20ms 10ms reorder 25%")]
    [Claim("LINK-1")]
    public async Task Connections_keep_their_server_and_carry_everything(string fault)
    {
        await AddAsync(s_two);
        await using var first = await Client.ConnectAsync(Service);
        await using var second = await Client.ConnectAsync(Service);
        await SpoilAsync(Director, ToServers, fault);
        await SpoilAsync(Rs1, Rs1.Device, fault);
        await SpoilAsync(Rs2, Rs2.Device, fault);

        foreach (var flow in new[] { first, second })
            await flow.ExchangeAsync(50_000);

        (await Director.RunAsync($"tc -s qdisc show dev {ToServers}")).ShouldContain("netem");
        foreach (var flow in new[] { first, second })
            await flow.ShouldNotBeSeenAsync(On(flow.Answer!.Server == "rs1" ? "rs2" : "rs1").Tcp());
        Director.IpvsConnections().Count.ShouldBe(2);
    }

    [Test, Claim("LINK-2")]
    public async Task A_segment_that_comes_twice_makes_no_second_connection()
    {
        await AddAsync(s_two);
        await SpoilAsync(Client, Client.Device, "duplicate 100%");

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeAnsweredAsync();
        Lab.Wire.Packets().Count(p => p is { Node: "director", IsLeaving: false, Packet.Tcp.Flags: Packets.TcpFlags.Syn }).ShouldBe(2);
        Director.IpvsConnections().ShouldHaveSingleItem();
        await flow.ShouldNotBeSeenAsync(On(flow.Answer!.Server == "rs1" ? "rs2" : "rs1").Tcp());
    }

    [Test, Claim("LINK-3")]
    public async Task A_datagram_that_comes_twice_reaches_one_server_twice()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080", "rs2:8080"));
        await SpoilAsync(Client, Client.Device, "duplicate 100%");

        var flow = await Client.AskUdpAsync(Service);

        await flow.ShouldBeAnsweredAsync();
        Lab.Wire.Packets().Where(p => p is { IsLeaving: false, Packet: { IsUdp: true, DestinationPort: 8080 } }).Select(p => p.Node)
            .ShouldBe([flow.Answer!.Server, flow.Answer.Server]);
    }

    [Test, Claim("LINK-4")]
    public async Task A_persistent_client_keeps_its_server()
    {
        await AddAsync(s_two with { PersistenceSeconds = 300 });
        await SpoilAsync(Director, ToServers, "loss 20%");

        var servers = new List<string>();
        for (var i = 0; i < 8; i++)
        {
            if ((await Client.AskAsync(Service)).Answer is { } answer)
                servers.Add(answer.Server);
        }

        servers.Count.ShouldBeGreaterThan(2);
        servers.Distinct().Count().ShouldBe(1);
    }

    [Test, Claim("LINK-5")]
    public async Task A_server_that_is_drained_keeps_its_connections()
    {
        await AddAsync(s_two);
        await using var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredAsync();
        await SpoilAsync(Director, ToServers, "loss 10%");

        await Director.Ipvs.EditAsync(s_two.Weighing(flow.Answer!.Server == "rs1" ? 0 : 1, flow.Answer.Server == "rs2" ? 0 : 1));

        await flow.ExchangeAsync(50_000);
        await flow.ShouldNotBeSeenAsync(On(flow.Answer.Server == "rs1" ? "rs2" : "rs1").Tcp());
    }

    [TestCase("on"), TestCase("off"), Claim("LINK-6")]
    public async Task Checksums_are_right_whether_the_device_makes_them_or_the_sender(string offload)
    {
        foreach (var (node, device) in new[] { (Client, Client.Device), (Rs1, Rs1.Device), (Director, "ens33"), (Director, ToServers) })
            await node.RunAsync($"ethtool -K {device} tx {offload}");
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));

        await using var flow = await Client.ConnectAsync(Service);
        await flow.ExchangeAsync(50_000);

        foreach (var node in new[] { Client, Rs1 })
            (await node.RunAsync("nstat -az TcpInCsumErrors")).ShouldMatch(@"TcpInCsumErrors\s+0\s");
    }

    /// <summary>Spoils what a device of a node sends.</summary>
    private static Task SpoilAsync(Node node, string device, string fault) =>
        node.RunAsync($"tc qdisc add dev {device} root netem {fault}");
}
