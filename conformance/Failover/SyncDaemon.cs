using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Failover;

/// <summary>
/// The sync daemon of IPVS (ipvsadm(8), --start-daemon): what survives when the virtual address moves, and what does not.
/// </summary>
[Topology("ha")]
public sealed class SyncDaemon() : SharedAddressFixture(SetUpBy.Ipvsadm)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(15);

    /// <summary>The kernel collects changes for up to two seconds (IPVS_SYNC_FLUSH_TIME): more rounds only cost processor time.</summary>
    private static readonly TimeSpan s_betweenRounds = TimeSpan.FromMilliseconds(200);

    private Node Director2 => Lab["director2"];

    [Test, Claim("HA-7")]
    public async Task Without_the_daemon_an_established_connection_is_reset()
    {
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"), synchronized: false);
        await using var flow = await Client.ConnectAsync(SharedService);
        await flow.ExchangeAsync(5000);

        await MoveAddressAsync();

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldBeSeenAsAsync(On("director2").Leaving.Reset(from: SharedService, to: "client"));
    }

    [Test, Claim("HA-8")]
    public async Task With_the_daemon_an_established_connection_goes_on()
    {
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"), synchronized: true);
        await using var flow = await ConnectSynchronizedAsync();

        await MoveAddressAsync();

        await flow.ExchangeAsync(1000);
        Lab.Wire.Packets().ShouldContain(p => p.Node == "director2" && p.IsLeaving && p.Packet.SourcePort == flow.Local.Port);
    }

    [Test, Claim("HA-9")]
    public async Task A_connection_with_fewer_packets_than_the_threshold_is_not_sent()
    {
        await SetUpDirectorsAsync(VirtualServerSpec.Udp(SharedService).Routing("rs1:8080", "rs2:8080"), synchronized: true);
        await Director.SetSysctlAsync("net.ipv4.vs.sync_threshold", "3 50");
        await Director.SetSysctlAsync("net.ipv4.vs.sync_refresh_period", "0");

        await Client.AskUdpAsync(SharedService, sourcePort: 20_001);
        for (var i = 0; i < 4; i++)
            await Client.AskUdpAsync(SharedService, sourcePort: 20_002);
        Director.IpvsConnections().Count.ShouldBe(2);

        await Eventually.Async("director2 knows the client of four datagrams", () => Director2.IpvsConnections(),
            c => c.Any(k => k.Client.Port == 20_002), s_limit);
        Director2.IpvsConnections().ShouldNotContain(k => k.Client.Port == 20_001);
    }

    [Test, Claim("HA-10")]
    public async Task A_persistent_client_keeps_its_server()
    {
        var persistent = VirtualServerSpec.Tcp(SharedService) with { PersistenceSeconds = 300 };
        // By itself the backup would begin with the other server.
        await SetUpDirectorsAsync(persistent.Routing("rs1:8080", "rs2:8080"), synchronized: true,
            ofBackup: persistent.Routing("rs2:8080", "rs1:8080"));
        var first = await Client.AskAsync(SharedService);
        await first.ShouldBeAnsweredAsync();
        await Eventually.Async("director2 knows the template", () => Director2.IpvsConnections(), c => c.Any(k => k.Client.Port == 0),
            s_limit);

        await MoveAddressAsync();
        var servers = new List<string?>();
        for (var i = 0; i < 4; i++)
            servers.Add((await Client.AskAsync(SharedService)).Answer?.Server);

        servers.ShouldAllBe(s => s == first.Answer!.Server);
    }

    [Test, Claim("HA-11")]
    public async Task The_backup_hears_only_its_own_sync_id()
    {
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"), synchronized: true, backupId: 2);
        // The master sends a message every two seconds (IPVS_SYNC_FLUSH_TIME in ip_vs.h), and the backup reads them in order:
        // when the second is there, the first has been read.
        await ExchangeUntilAsync("two messages have arrived", () => Messages().Count(), count => count >= 2);
        Director2.IpvsConnections().ShouldBeEmpty();

        await Director2.RunAsync("ipvsadm --stop-daemon backup");
        await Director2.RunAsync($"ipvsadm --start-daemon backup --mcast-interface {Director2.Device} --syncid 1");
        await ExchangeUntilAsync("director2 knows a connection", () => Director2.IpvsConnections().Count, count => count > 0);
    }

    [Test, Claim("HA-12")]
    public async Task With_backup_only_a_backup_serves_itself_and_directs_nothing()
    {
        await SetUpRealServersAsync(hidden: true, Director2, Rs1);
        Director2.Serve(TransportProtocol.Tcp, 8080);
        await Director2.Ipvs.AddAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("director2:8080"));
        await Director2.RunAsync($"ipvsadm --start-daemon backup --mcast-interface {Director2.Device} --syncid 1");

        var directed = await Client.AskAsync(SharedService);
        await Director2.SetSysctlAsync("net.ipv4.vs.backup_only", "1");
        var served = await Client.AskAsync(SharedService);

        await directed.ShouldBeAnsweredByAsync("rs1");
        await served.ShouldBeAnsweredByAsync("director2");
    }

    [Test, Claim("HA-13"), Requires(Feature.IpvsConntrack, Feature.IpvsMatch)]
    public async Task A_masqueraded_connection_does_not_survive()
    {
        foreach (var director in new[] { Director, Director2 })
        {
            await director.SetSysctlAsync("net.ipv4.ip_forward", "1");
            await director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
            await director.RunAsync($"iptables -w -t nat -A POSTROUTING -m ipvs --vaddr {SharedVip} -j MASQUERADE");
        }
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Masquerading("rs1:8080", "rs2:8080"), synchronized: true,
            sharedAddress: false);
        await using var flow = await ConnectSynchronizedAsync();

        await MoveAddressAsync();

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldBeSeenAsAsync(On(flow.Answer!.Server).Leaving.Reset(to: "director2"));
    }

    [TestCase(0)]
    [TestCase(1)]
    [Claim("HA-14")]
    public async Task The_master_writes_messages_of_the_version_that_is_set(int version)
    {
        await Director.SetSysctlAsync("net.ipv4.vs.sync_version", $"{version}");
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"), synchronized: true);

        await ExchangeUntilAsync("a message has arrived", () => Messages().Count(), count => count > 0);
        var message = Messages().First().Payload.Span;

        // struct ip_vs_sync_mesg has a reserved byte, then the id; _v0 has the number of connections there (ip_vs_sync.c).
        (message[0] == 0).ShouldBe(version == 1);
        message[1].ShouldBe((byte)1, "the sync id");
        if (version == 1)
            message[5].ShouldBe((byte)1);
    }

    [Test, Claim("HA-15")]
    public async Task With_several_sync_ports_messages_travel_on_each()
    {
        foreach (var director in new[] { Director, Director2 })
            await director.SetSysctlAsync("net.ipv4.vs.sync_ports", "2");
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"), synchronized: true);

        await ExchangeUntilAsync("messages travel on two ports", () => MessagePorts().Length, count => count == 2);

        MessagePorts().ShouldBe([8848, 8849]);
    }

    /// <summary>Opens a connection that the backup knows.</summary>
    private async Task<Flow> ConnectSynchronizedAsync()
    {
        var flow = await Client.ConnectAsync(SharedService);
        for (var i = 0; i < 3; i++)
            await flow.ExchangeAsync(1000);
        await Eventually.Async("director2 knows the connection", () => Director2.IpvsConnections(),
            c => c.Any(k => k.Client.Port == flow.Local.Port && k.State == "ESTABLISHED"), s_limit);
        return flow;
    }

    /// <summary>
    /// Keeps eight connections busy, and one more in each round, until something is so: which port tells of a connection is a bit of the
    /// address of its entry in the kernel (select_master_thread_id of ip_vs_sync.c), and eight may have the same.
    /// </summary>
    private async Task ExchangeUntilAsync(string what, Func<int> read, Func<int, bool> isSo)
    {
        var flows = new List<Flow>();
        for (var i = 0; i < 7; i++)
            flows.Add(await Client.ConnectAsync(SharedService));
        await Eventually.Async(what, async () =>
        {
            flows.Add(await Client.ConnectAsync(SharedService));
            foreach (var flow in flows)
                await flow.ExchangeAsync(100);
            return read();
        }, isSo, s_limit, pause: s_betweenRounds);
    }

    /// <summary>The messages that the backup has received, from the daemon's multicast address (ip_vs_sync.c).</summary>
    private IEnumerable<Packets.Packet> Messages() => Lab.Wire.Packets().Where(p => p.Node == "director2" && !p.IsLeaving
        && p.Packet.IsUdp && p.Packet.DestinationAddress!.ToString() == "224.0.0.81").Select(p => p.Packet);

    private int[] MessagePorts() => [.. Messages().Select(p => p.DestinationPort).Distinct().Order()];

    private async Task SetUpDirectorsAsync(VirtualServerSpec server, bool synchronized, int backupId = 1,
        bool sharedAddress = true, VirtualServerSpec? ofBackup = null)
    {
        if (sharedAddress)
            await SetUpRealServersAsync(hidden: true, Rs1, Rs2);
        await SetUpDirectorAsync(server);
        await Director2.Ipvs.AddAsync(ofBackup ?? server);
        if (!synchronized)
            return;
        foreach (var director in new[] { Director, Director2 })
        {
            await director.SetSysctlAsync("net.ipv4.vs.sync_threshold", "1 2");
            await director.SetSysctlAsync("net.ipv4.vs.sync_refresh_period", "1");
        }
        await Director2.RunAsync($"ipvsadm --start-daemon backup --mcast-interface {Director2.Device} --syncid {backupId}");
        await Director.RunAsync($"ipvsadm --start-daemon master --mcast-interface {Director.Device} --syncid 1");
    }

    /// <summary>The virtual address moves to the other director, and the router learns it.</summary>
    private async Task MoveAddressAsync()
    {
        await Director.DeleteAddressAsync($"{SharedVip}/32");
        await Director2.AddAddressAsync($"{SharedVip}/32");
        await Lab["router"].RunAsync("ip neigh flush dev ens33");
    }
}
