using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Ipvs;
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

    private Node Director2 => Lab["director2"];

    [Test, Claim("HA-7")]
    public async Task Without_it_an_established_connection_is_reset()
    {
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"), synchronized: false);
        await using var flow = await Client.ConnectAsync(SharedService);
        await flow.ExchangeAsync(5000);

        await MoveAddressAsync();

        await flow.ShouldCarryNothingAsync();
        await flow.ShouldBeSeenAsAsync(On("director2").Leaving.Reset(from: SharedService, to: "client"));
    }

    [Test, Claim("HA-8")]
    public async Task With_it_an_established_connection_goes_on()
    {
        await SetUpDirectorsAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080", "rs2:8080"), synchronized: true);
        await using var flow = await Client.ConnectAsync(SharedService);
        for (var i = 0; i < 3; i++)
            await flow.ExchangeAsync(1000);
        await Eventually.Async("director2 knows the connection", () => Director2.IpvsConnections(),
            c => c.Any(k => k.Client.Port == flow.Local.Port && k.State == "ESTABLISHED"), s_limit);

        await MoveAddressAsync();

        await flow.ExchangeAsync(1000);
        Lab.Wire.Packets().ShouldContain(p => p.Node == "director2" && p.IsLeaving && p.Packet.SourcePort == flow.Local.Port);
    }

    [Test, Claim("HA-9")]
    public async Task A_connection_with_fewer_packets_than_the_threshold_is_not_told()
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
        var server = (VirtualServerSpec.Tcp(SharedService) with { PersistenceSeconds = 300 }).Routing("rs1:8080", "rs2:8080");
        await SetUpDirectorsAsync(server, synchronized: true);
        // The next client in turn would get the other server.
        await (await Director2.AskAsync("rs1:8080")).ShouldBeAnsweredByAsync("rs1");
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
        await using var flow = await Client.ConnectAsync(SharedService);
        for (var i = 0; i < 3; i++)
            await flow.ExchangeAsync(1000);

        await Eventually.Async("the master has reported the connection", () => Lab.Wire.Packets()
            .Count(p => p.Node == "director2" && !p.IsLeaving && p.Packet.IsUdp && p.Packet.DestinationPort == 8848), c => c > 0, s_limit);

        Director2.IpvsConnections().ShouldBeEmpty();
    }

    private async Task SetUpDirectorsAsync(VirtualServerSpec server, bool synchronized, int backupId = 1)
    {
        await SetUpRealServersAsync(hidden: true, Rs1, Rs2);
        await SetUpDirectorAsync(server);
        await Director2.Ipvs.AddAsync(server);
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
