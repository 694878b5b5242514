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
public sealed class LossAndDelay(SetUpBy by) : NatFixture(by)
{
    private const string ToServers = "ens34"; // of the director
    private static readonly VirtualServerSpec s_two = VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080", "rs2:8080");

    [TestCase("loss 5%", "dropped [1-9]")]
    [TestCase("delay 20ms 10ms reorder 25%", "TcpExtTCPOFOQueue +[1-9]")]
    [Claim("LINK-1")]
    public async Task Connections_keep_their_server_and_carry_everything(string fault, string trace)
    {
        await AddAsync(s_two);
        if (fault.StartsWith("loss", StringComparison.Ordinal))
        {
            // TCP retransmits after 20 ms instead of 200 ms. With 200 ms, a segment that is lost six times takes more than ten seconds.
            foreach (var node in new[] { Client, Rs1, Rs2 })
                await node.RunAsync($"ip route change default via {node.Spec.Gateway} rto_min 20ms");
        }
        await using var first = await Client.ConnectAsync(Service);
        await using var second = await Client.ConnectAsync(Service);
        foreach (var (node, device) in new[] { (Client, Client.Device), (Director, ToServers), (Rs1, Rs1.Device), (Rs2, Rs2.Device) })
        {
            await node.RunAsync($"ethtool -K {device} tso off gso off"); // one frame for each segment
            await AddFaultAsync(node, device, fault);
        }

        foreach (var flow in new[] { first, second })
            await flow.ExchangeAsync(50_000);

        var traces = "";
        foreach (var (node, device) in new[] { (Client, Client.Device), (Director, ToServers), (Rs1, Rs1.Device), (Rs2, Rs2.Device) })
            traces += await node.RunAsync($"tc -s qdisc show dev {device}") + await node.RunAsync("nstat -az TcpExtTCPOFOQueue");
        traces.ShouldMatch(trace, "the link was as bad as it was asked to be");
        foreach (var flow in new[] { first, second })
            await flow.ShouldNotBeSeenAsync(On(OtherThan(flow)).Tcp());
        Director.IpvsConnections().Count.ShouldBe(2);
    }

    [Test, Claim("LINK-2")]
    public async Task A_duplicated_segment_makes_no_second_connection()
    {
        await AddAsync(s_two);
        await AddFaultAsync(Client, Client.Device, "duplicate 100%");

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeAnsweredAsync();
        Lab.Wire.Packets().Count(p => p is { Node: "director", IsLeaving: false, Packet.Tcp.Flags: Packets.TcpFlags.Syn }).ShouldBe(2);
        Director.IpvsConnections().ShouldHaveSingleItem();
        await flow.ShouldNotBeSeenAsync(On(OtherThan(flow)).Tcp());
    }

    [Test, Claim("LINK-3")]
    public async Task A_duplicated_datagram_reaches_one_server()
    {
        await AddAsync(VirtualServerSpec.Udp(Service).Masquerading("rs1:8080", "rs2:8080"));
        await AddFaultAsync(Client, Client.Device, "duplicate 100%");

        var flow = await Client.AskUdpAsync(Service);

        await flow.ShouldBeAnsweredAsync();
        Lab.Wire.Packets().Where(p => p is { IsLeaving: false, Packet: { IsUdp: true, DestinationPort: 8080 } }).Select(p => p.Node)
            .ShouldBe([flow.Answer!.Server, flow.Answer.Server]);
    }

    [Test, Claim("LINK-4")]
    public async Task A_persistent_client_keeps_its_server()
    {
        await AddAsync(s_two with { PersistenceSeconds = 300 });
        await AddFaultAsync(Director, ToServers, "loss 20%");

        for (var i = 0; i < 8; i++)
            await Client.AskAsync(Service); // some get no answer; their entries count as well

        Director.IpvsConnections().Count.ShouldBeGreaterThan(2);
        Director.IpvsConnections().Select(c => c.Destination.Address).Distinct().Count().ShouldBe(1);
    }

    [Test, Claim("LINK-5")]
    public async Task A_server_that_is_drained_keeps_its_connections()
    {
        await AddAsync(s_two);
        await using var flow = await Client.ConnectAsync(Service);
        await flow.ShouldBeAnsweredAsync();
        await AddFaultAsync(Director, ToServers, "loss 10%");

        await Director.Ipvs.EditAsync(s_two.Weighing(flow.Answer!.Server == "rs1" ? 0 : 1, flow.Answer.Server == "rs2" ? 0 : 1));

        await flow.ExchangeAsync(50_000);
        await flow.ShouldNotBeSeenAsync(On(OtherThan(flow)).Tcp());
        await Director.RunAsync($"tc qdisc del dev {ToServers} root");
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync(OtherThan(flow));
    }

    [TestCase("on"), TestCase("off"), Claim("LINK-6")]
    public async Task Data_arrives_whether_the_device_makes_checksums_or_the_sender(string offload)
    {
        foreach (var (node, device) in new[] { (Client, Client.Device), (Rs1, Rs1.Device), (Director, "ens33"), (Director, ToServers) })
            await node.RunAsync($"ethtool -K {device} tx {offload}");
        await AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("rs1:8080"));

        await using var flow = await Client.ConnectAsync(Service);
        await flow.ExchangeAsync(50_000);

        foreach (var node in new[] { Client, Rs1 })
            (await node.RunAsync("nstat -az TcpInCsumErrors")).ShouldMatch(@"TcpInCsumErrors\s+0\s");
    }

    private static string OtherThan(Flow flow) => flow.Answer!.Server == "rs1" ? "rs2" : "rs1";

    /// <summary>Adds a fault to what a device of a node sends.</summary>
    private static Task AddFaultAsync(Node node, string device, string fault) =>
        node.RunAsync($"tc qdisc add dev {device} root netem {fault}");
}
