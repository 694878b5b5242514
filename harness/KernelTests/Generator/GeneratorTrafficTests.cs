using System.Diagnostics;
using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sync;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Sysctls;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.KernelTests.Generator;

/// <summary>What syncs do to connections that are there.</summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class GeneratorTrafficTests : IAsyncDisposable
{
    private const string Vip = "10.10.0.1";
    private static readonly ObjectName s_name = new("default", "web");
    private static readonly Service s_service = new()
    {
        Name = s_name,
        ClusterIPs = [IPAddress.Parse(Vip)],
        Ports = [new ServicePort("tcp", TransportProtocol.Tcp, 80, 0), new ServicePort("udp", TransportProtocol.Udp, 80, 0)]
    };
    private static readonly GeneratorOptions s_options =
        new() { HostnameOverride = "director", ClusterCidr = [IPNetwork.Parse("10.244.0.0/16")], ConntrackMaxPerCore = 0 };
    private readonly Cluster _cluster = new();
    private Lab _lab = null!;
    private KernelPort _kernel = null!;
    private Synchronizer _synchronizer = null!;
    private World _world = null!;

    private Node Client => _lab["client"];

    private Node Director => _lab["director"];

    [SetUp]
    public async Task StartDirector()
    {
        _lab = await Lab.StartAsync(Topology.Load("routed-nat"));
        _kernel = new KernelPort(Director.Namespace, Toolbox.Iptables);
        _synchronizer = new Synchronizer(_kernel);
        _cluster.Put(s_service);
    }

    public async ValueTask DisposeAsync()
    {
        _kernel.Dispose();
        await _lab.DisposeAsync();
    }

    [Test]
    public async Task Removed_endpoint_drains_and_goes_with_its_last_connection()
    {
        await StartAsync("rs1", "rs2");
        await using var first = await Client.ConnectAsync($"{Vip}:80");
        await using var second = await Client.ConnectAsync($"{Vip}:80");
        var (going, staying) = first.Answer!.Server == "rs1" ? (first, second) : (second, first);
        await staying.ShouldBeAnsweredByAsync("rs2");

        await ChangeAsync("rs2");

        Weights().ShouldBe(["rs1:8080 0", "rs2:8080 1"]);
        await going.ExchangeAsync(1000);
        for (var i = 0; i < 4; i++)
            await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync("rs2");
        _synchronizer.RemoveDrained().Changes.ShouldBeEmpty("its connection is still there");

        await ChangeAsync("rs1", "rs2");
        Weights().ShouldBe(["rs1:8080 1", "rs2:8080 1"], "it came back while it drained");
        await going.ExchangeAsync(1000);
        await ChangeAsync("rs2");
        await going.ResetAsync();

        await Eventually.Async("the drained real server goes", () =>
        {
            _synchronizer.RemoveDrained();
            return Weights();
            // IPVS keeps a reset connection for 10 s
        }, weights => weights.SequenceEqual(["rs2:8080 1"], StringComparer.Ordinal), TimeSpan.FromSeconds(15));
        await staying.ExchangeAsync(1000);
    }

    [Test]
    public async Task A_client_that_goes_on_sending_datagrams_reaches_an_endpoint_that_is_there()
    {
        await StartAsync("rs1");
        await (await Client.AskUdpAsync($"{Vip}:80", sourcePort: 40000)).ShouldBeAnsweredByAsync("rs1");

        await ChangeAsync("rs2");

        await (await Client.AskUdpAsync($"{Vip}:80", sourcePort: 40000)).ShouldBeAnsweredByAsync("rs2");
    }

    [Test]
    public async Task What_a_killed_run_has_not_forgotten_of_datagrams_the_next_one_forgets()
    {
        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
        await Director.RunAsync("iptables -A INPUT -m conntrack --ctstate NEW"); // connections are tracked
        await Director.RunAsync($"ip address add {Vip}/32 dev lo");
        (await Client.AskUdpAsync($"{Vip}:80", sourcePort: 40001)).Answer.ShouldBeNull("nobody serves it yet");
        Director.Conntrack().ShouldContain(e => e.Original.SourcePort == 40001, "the way to nowhere is remembered");
        await Director.RunAsync($"ipvsadm -A -u {Vip}:80 -s rr");
        await Director.RunAsync($"ipvsadm -a -u {Vip}:80 -r {_lab["rs2"].Address}:8080 -m -w 1");

        Put("rs2");
        var world = NewWorld();
        (new Synchronizer(_kernel).SyncAll(world.Desired, world.Node)).Errors.ShouldBeEmpty();

        Director.Conntrack().ShouldNotContain(e => e.Original.SourcePort == 40001);
        await (await Client.AskUdpAsync($"{Vip}:80", sourcePort: 40001)).ShouldBeAnsweredByAsync("rs2");
    }

    [Test]
    public async Task The_first_service_of_ipv6_turns_its_forwarding_on()
    {
        await Director.SetSysctlAsync("net.ipv6.conf.all.forwarding", "0");
        await StartAsync("rs1");
        Sysctl.TryRead(Director.Namespace, "net.ipv6.conf.all.forwarding").ShouldBe("0", "nobody needs it yet");
        var six = new ObjectName("default", "six");
        _cluster.Put(s_service with { Name = six, ClusterIPs = [IPAddress.Parse("fd00:10::1")] });

        await DecideAsync(six);

        Sysctl.TryRead(Director.Namespace, "net.ipv6.conf.all.forwarding").ShouldBe("1");
    }

    [Test]
    public async Task Without_its_rules_no_virtual_server_answers_and_the_next_sync_completes_it()
    {
        var failing = new KernelPort(Director.Namespace, Toolbox.Iptables,
            ["sh", "-c", "case $0 in *-restore) echo 'no lock' >&2; exit 4;; esac; exec \"$0\" \"$@\""]);
        using (failing)
        {
            Put("rs1");
            var world = NewWorld();
            var failed = new Synchronizer(failing).SyncAll(world.Desired, world.Node);
            failed.Errors.ShouldHaveSingleItem().ShouldContain("no lock");
        }
        Director.IpvsTable().VirtualServers.ShouldBeEmpty();

        await StartAsync("rs1");

        await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync("rs1");
    }

    [Test]
    public async Task While_a_service_comes_and_goes_no_connection_is_answered_without_masquerade()
    {
        await StartAsync("rs1");
        using var end = new CancellationTokenSource();
        var answered = 0;
        // Many at once: a SYN that finds no Service is silence, until it is sent again a second later. A slow machine answers few.
        var patience = Stopwatch.StartNew();
        var asking = Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Task.Run(async () =>
        {
            while (!end.IsCancellationRequested)
            {
                await using var flow = await Client.ConnectAsync($"{Vip}:80");
                if (flow.Answer is not null)
                    Interlocked.Increment(ref answered);
                if (flow.IsOpen)
                    await flow.ResetAsync(); // no orderly end: its Service may be gone by now
                else
                    await Task.Delay(TimeSpan.FromMilliseconds(10)); // refused at once, it would take the processor from the sync
            }
        })));

        for (var i = 0; i < 15 || (Volatile.Read(ref answered) < 15 && patience.Elapsed < TimeSpan.FromSeconds(30)); i++)
        {
            _cluster.RemoveService(s_name);
            await DecideAsync();
            _cluster.Put(s_service);
            await DecideAsync();
            await Task.Delay(TimeSpan.FromMilliseconds(20));
        }
        await end.CancelAsync();

        await asking;
        answered.ShouldBeGreaterThanOrEqualTo(15, "connections were answered in between");
        _lab["rs1"].Servers.SelectMany(s => s.Peers).Select(p => p.Address.ToString()).Distinct()
            .ShouldBe(["172.16.0.1"], "masqueraded, every one");
    }

    [Test]
    public async Task Refused_virtual_server_does_not_expose_sockets_of_the_node()
    {
        Director.Serve(TransportProtocol.Tcp, 80);
        _cluster.Put(s_service with { Scheduler = "nosuch" });
        Put("rs1");
        _world = new World(s_options, NodeStates.Of(s_options, _cluster, [Director.Address]), _cluster);

        var result = _synchronizer.SyncAll(_world.Desired, _world.Node);

        (result.IsGood, result.IsBroken).ShouldBe((false, false));
        result.Changes.ShouldNotContain(c => c.Kind == "virtual server" || c.Kind == "address", "neither was made");
        (await Client.AskAsync($"{Vip}:80")).Answer.ShouldBeNull();

        // With another port served the address is bound: the refused one's is closed to the node's own sockets all the same.
        _cluster.Put(s_service with
        {
            Name = new ObjectName("default", "other"),
            Ports = [new ServicePort("tcp", TransportProtocol.Tcp, 81, 0)]
        });
        await DecideAsync(new ObjectName("default", "other"));
        await (await Client.AskAsync($"{Vip}:81")).ShouldBeRefusedAsync();
        await (await Client.AskAsync($"{Vip}:80")).ShouldBeRefusedAsync();
    }

    [Test]
    public async Task Where_ip6tables_does_not_work_ipv4_is_served_all_the_same()
    {
        using var kernel = new KernelPort(Director.Namespace, Toolbox.Iptables with { HasIPv6 = false },
            ["sh", "-c", "case $0 in ip6*) echo 'no ip6tables' >&2; exit 3;; esac; exec \"$0\" \"$@\""]);
        _cluster.Put(s_service with { ClusterIPs = [IPAddress.Parse(Vip), IPAddress.Parse("fd00:10::1")] });
        Put("rs1");
        var world = new World(s_options, NodeStates.Of(s_options, _cluster, [Director.Address], kernel.HasIPv6), _cluster);

        (new Synchronizer(kernel).SyncAll(world.Desired, world.Node)).Errors.ShouldBeEmpty();

        await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync("rs1");
        Director.IpvsTable().VirtualServers.ShouldAllBe(s => s.EndPoint!.Address.Equals(IPAddress.Parse(Vip)),
            "an IPv6 virtual server without its rules is worse than none");
    }

    private async Task StartAsync(params string[] endpoints)
    {
        Put(endpoints);
        _world = NewWorld();
        _synchronizer.SyncAll(_world.Desired, _world.Node).Errors.ShouldBeEmpty();
    }

    private Task ChangeAsync(params string[] endpoints)
    {
        Put(endpoints);
        return DecideAsync();
    }

    private async Task DecideAsync(ObjectName? service = null)
    {
        var touched = new Touched();
        _world.Decide(service ?? s_name, touched);
        _synchronizer.Sync(_world.Desired, _world.Node, touched).Errors.ShouldBeEmpty();
    }

    private World NewWorld() => new(s_options, new NodeState("director", [Director.Address], null, [], []), _cluster);

    private void Put(params string[] endpoints) => _cluster.Put(new EndpointSlice(
        new ObjectName("default", "web-1"), s_name, IsIPv6: false,
            [new SlicePort("tcp", TransportProtocol.Tcp, 8080), new SlicePort("udp", TransportProtocol.Udp, 8080)],
        [.. endpoints.Select(e => new Endpoint(_lab[e].Address, IsReady: true, IsServing: true, IsTerminating: false, e,
            HintedZones: null))]));

    private string[] Weights() => [.. Director.IpvsTable().VirtualServers.Single(s => s.Protocol == TransportProtocol.Tcp).RealServers
        .Select(r => $"{_lab.Nodes.Single(n => n.Address.Equals(r.EndPoint.Address)).Name}:{r.EndPoint.Port} {r.Weight}")
            .Order(StringComparer.Ordinal)];
}
