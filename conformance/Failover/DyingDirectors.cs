using System.Globalization;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Failover;

/// <summary>
/// Article 1.2: the virtual address moves when its director dies. keepalived holds it by VRRP, with 200 ms between adverts.
/// </summary>
[Topology("ha")]
public sealed class DyingDirectors() : SharedAddressFixture(SetUpBy.Keepalived)
{
    private const int Datagrams = 200;
    private const int BetweenDatagrams = 20; // ms
    private static readonly TimeSpan s_longestOutage = TimeSpan.FromSeconds(3);
    private ServerProgram? _master;

    private Node Director2 => Lab["director2"];

    [SetUp]
    public async Task StartDirectors()
    {
        await SetUpRealServersAsync(hidden: true, Rs1, Rs2);
        _master = await StartAsync(Director, priority: 150);
        await StartAsync(Director2, priority: 100);
    }

    [TestCase("its link goes down")]
    [TestCase("SIGTERM")]
    [TestCase("SIGKILL")]
    [TestCase("it freezes")]
    [Claim("HA-1")]
    public async Task The_virtual_address_moves_when_the_master_dies(string death)
    {
        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredAsync();
        var sending = Client.Command("perl", "-e", Sender).ExecuteAsync();
        await Eventually.Async("datagrams arrive", Arrivals, a => a.Count > 10);

        var died = DateTime.UtcNow;
        await KillAsync(death);
        await sending;

        var arrivals = await Eventually.Async("datagrams arrive again", Arrivals, a => a[^1] > died + TimeSpan.FromSeconds(1));
        var outage = arrivals.Zip(arrivals.Skip(1), (a, b) => b - a).Max();
        Lab.Observe(Director2, $"when {death}", string.Create(CultureInfo.InvariantCulture,
            $"{outage.TotalMilliseconds:0} ms without service, {Datagrams - arrivals.Count} of {Datagrams} clients lost"));
        outage.ShouldBeLessThan(s_longestOutage);
        HasAddress(Director2).ShouldBeTrue();
        Lab.Wire.Packets().ShouldContain(p => p.Node == "router" && !p.IsLeaving && p.Packet.Arp != null && p.Packet.Arp.IsGratuitous
            && p.Packet.Arp.Sender.ToString() == SharedVip && p.Packet.Arp.SenderMac.Equals(MacOf(Director2)));
        var flow = await Client.AskAsync(SharedService);
        await flow.ShouldBeAnsweredAsync();
        await flow.ShouldBeSeenAsAsync(On("director2").Leaving.Syn(to: SharedService));
    }

    [Test, Claim("HA-2")]
    public async Task The_virtual_address_returns_to_the_director_of_the_higher_priority()
    {
        await Director.RunAsync($"ip link set {Director.Device} down");
        await Eventually.Async("director2 has the address", () => HasAddress(Director2), has => has);

        await Director.RunAsync($"ip link set {Director.Device} up");

        await Eventually.Async("only the director has the address", () => (HasAddress(Director), HasAddress(Director2)),
            has => has == (true, false), TimeSpan.FromSeconds(15));
    }

    private static string Sender => string.Create(CultureInfo.InvariantCulture,
        $"use Socket; my $to = sockaddr_in(8080, inet_aton('{SharedVip}')); " +
        $"for (1..{Datagrams}) {{ socket(my $s, PF_INET, SOCK_DGRAM, 0); send($s, \"datagram $_\", 0, $to); " +
        $"select(undef, undef, undef, 0.001 * {BetweenDatagrams}); }}");

    private async Task KillAsync(string death)
    {
        var pid = _master!.ProcessId;
        await (death switch
        {
            "its link goes down" => Director.RunAsync($"ip link set {Director.Device} down"),
            "SIGTERM" => Director.RunAsync($"kill -TERM {pid}"),
            "SIGKILL" => ToAllAsync("KILL"),
            _ => ToAllAsync("STOP"),
        });

        // First the children, whose parent would start others.
        Task ToAllAsync(string signal) => Director.Command("sh", "-c",
            $"children=$(pgrep -P {pid}); kill -STOP {pid}; kill -{signal} $children {pid}").ExecuteAsync();
    }

    /// <summary>
    /// When datagrams of the sender reached a real server. The switch sends frames for a director that has gone to everybody: those do not
    /// count.
    /// </summary>
    private List<DateTime> Arrivals()
    {
        var own = new[] { Rs1, Rs2 }.ToDictionary(n => n.Name, MacOf, StringComparer.Ordinal);
        return [.. Lab.Wire.Packets().Where(p => own.TryGetValue(p.Node, out var mac) && !p.IsLeaving
            && p.Packet is { IsUdp: true, DestinationPort: 8080 } && mac.Equals(p.Packet.DestinationMac)).Select(p => p.Time).Order()];
    }

    private static bool HasAddress(Node node) => node.Route.Addresses().Any(a => a.Address.ToString() == SharedVip);

    private async Task<ServerProgram> StartAsync(Node node, int priority)
    {
        var servers = string.Concat(new[] { VirtualServerSpec.Tcp(SharedService), VirtualServerSpec.Udp(SharedService) }
            .Select(s => Keepalived.Section(Lab, s.Routing("rs1:8080", "rs2:8080"))));
        var isMaster = priority > 100;
        return await node.StartKeepalivedAsync($$"""
            vrrp_instance virtual {
                version 3
                state {{(isMaster ? "MASTER" : "BACKUP")}}
                interface {{node.Device}}
                virtual_router_id 51
                priority {{priority}}
                advert_int 0.2
                virtual_ipaddress {
                    {{SharedVip}}/32
                }
            }
            {{servers}}
            """, isMaster ? "takes the virtual address" : "adds its virtual servers",
            () => node.IpvsTable().VirtualServers.Sum(s => s.RealServers.Count) == 4 && (!isMaster || HasAddress(node)));
    }
}
