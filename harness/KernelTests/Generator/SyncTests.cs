using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sync;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Iptables;
using Conformance.Topologies;

namespace Conformance.KernelTests.Generator;

/// <summary>The generator's own way into the kernel, held against the recordings, steps included.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class SyncTests
{
    [TestCaseSource(typeof(Scenario), nameof(Scenario.Names))]
    public async Task Apply_makes_the_state_that_was_recorded_and_again_writes_nothing(string name)
    {
        var scenario = Scenario.Load(name);
        await using var machine = await Machine.StartAsync(scenario);
        if (scenario.BeganInUse)
            await machine.Node.Command("bash", "-c", scenario.Read("pre.sh").Replace("snap 0-before", "", StringComparison.Ordinal))
                .ExecuteAsync();

        var first = machine.Sync(scenario.Options(), scenario.ReadCluster());

        first.Errors.ShouldBeEmpty();
        (await machine.StateAsync()).Differences(KernelState.Of(scenario)).ShouldBeEmpty(name);
        machine.Sync(scenario.Options(), scenario.ReadCluster()).ShouldSatisfyAllConditions(
            again => again.Changes.ShouldBeEmpty(),
            again => again.Messages.ShouldBe(0));
    }

    [Test]
    public async Task Each_change_of_objects_makes_the_recorded_change()
    {
        var scenario = Scenario.Load("27-updates");
        await using var machine = await Machine.StartAsync(scenario);
        var cluster = scenario.ReadCluster();
        machine.Sync(scenario.Options(), cluster);
        var before = await machine.StateAsync();

        foreach (var step in Step.Of(scenario))
        {
            if (step.Script.Contains("ip addr add", StringComparison.Ordinal))
                machine.Node.Route.AddAddress("eth0", IPAddress.Parse("192.168.113.150"), 24);
            step.Apply(cluster);

            machine.Sync(scenario.Options(), cluster).Errors.ShouldBeEmpty(step.Recording);

            var after = await machine.StateAsync();
            KernelState.SameChanges(after.Differences(before), scenario.Read($"diff-{step.Recording}.txt")).ShouldBeEmpty(step.Recording);
            before = after;
        }
    }

    [TestCase("31-nodeport-addresses")]
    [TestCase("34-detect-local-modes")]
    public async Task Other_flags_make_the_recorded_change(string name)
    {
        var scenario = Scenario.Load(name);
        await using var machine = await Machine.StartAsync(scenario);
        var cluster = scenario.ReadCluster();
        machine.Sync(scenario.Options(), cluster);
        var before = await machine.StateAsync();

        foreach (var line in scenario.Read("steps.sh").Split('\n').Where(l => l.StartsWith("F ", StringComparison.Ordinal)))
        {
            var words = line.Split(' ', 3);
            machine.Sync(scenario.Options(words[2].Trim('"'), replacesFlags: true), cluster).Errors.ShouldBeEmpty(words[1]);

            var after = await machine.StateAsync();
            KernelState.SameChanges(after.Differences(before), scenario.Read($"diff-{words[1]}.txt")).ShouldBeEmpty(words[1]);
            before = after;
        }
    }

    [TestCase("ipvsadm -e -t 10.96.10.3:80 -r 10.244.0.11:8080 -m -w 7")]
    [TestCase("ipvsadm -d -t 10.96.10.3:80 -r 10.244.0.11:8080")]
    [TestCase("ipvsadm -E -t 10.96.10.3:80 -s wlc")]
    [TestCase("ipvsadm -A -t 10.96.10.4:80 -s rr")]
    [TestCase("ipset del KUBE-CLUSTER-IP 10.96.10.3,tcp:80")]
    [TestCase("ipset add KUBE-LOOP-BACK 10.244.0.99,tcp:80,10.244.0.99")]
    [TestCase("ip address del 10.96.10.3/32 dev kube-ipvs0")]
    [TestCase("iptables -t nat -F KUBE-POSTROUTING")]
    [TestCase("sysctl -qw net.ipv4.vs.conntrack=0")]
    public async Task What_somebody_else_changes_is_found_though_all_was_right_twice_before(string meddling)
    {
        var scenario = Scenario.Load("03-clusterip-3ep-2local");
        await using var machine = await Machine.StartAsync(scenario);
        var (options, cluster) = (scenario.Options(), scenario.ReadCluster());
        var node = NodeStates.Of(options, cluster, machine.Kernel.NodeAddresses());
        var world = new World(options, node, cluster);
        machine.Synchronizer.SyncAll(world.Desired, node);
        for (var i = 0; i < 3; i++)
            machine.Synchronizer.SyncAll(world.Desired, node).Messages.ShouldBe(0);

        await machine.Node.RunAsync(meddling);

        machine.Synchronizer.SyncAll(world.Desired, node).Changes.ShouldNotBeEmpty();
        (await machine.StateAsync()).Differences(KernelState.Of(scenario)).ShouldBeEmpty();
        machine.Synchronizer.SyncAll(world.Desired, node).Messages.ShouldBe(0);
    }

    [Test]
    public async Task Cleanup_leaves_the_recorded_rest_and_a_restart_restores_the_state()
    {
        var scenario = Scenario.Load("33-stop-and-cleanup");
        await using var machine = await Machine.StartAsync(scenario);
        machine.Sync(scenario.Options(), scenario.ReadCluster());

        new Cleaner(machine.Kernel, scenario.Options()).Clean().Errors.ShouldBeEmpty();

        (await machine.StateAsync()).Differences(KernelState.Of(scenario, "state-2-cleanup")).ShouldBeEmpty();
        machine.Sync(scenario.Options(), scenario.ReadCluster());
        (await machine.StateAsync()).Differences(KernelState.Of(scenario)).ShouldBeEmpty();
    }

    [Test]
    public async Task A_set_that_has_to_hold_more_than_it_was_made_for_is_enlarged()
    {
        await using var machine = await Machine.StartAsync(Scenario.Load("01-empty"));
        var options = Options();
        var cluster = new Cluster();
        // Many Services, since adding to one virtual server takes the longer the more it has.
        for (var i = 0; i < 66; i++)
            cluster.Put(new Service
            {
                Name = Name(i),
                ClusterIPs = [new IPAddress([10, 96, 0, (byte)(i + 1)])],
                Ports = [new ServicePort("", TransportProtocol.Tcp, 80, 0)]
            });
        machine.Sync(options, cluster).Errors.ShouldBeEmpty();
        for (var i = 0; i < 66; i++)
            cluster.Put(new EndpointSlice(Name(i), Name(i), IsIPv6: false, [new SlicePort("", TransportProtocol.Tcp, 8080)],
                [.. Enumerable.Range(0, 1000).Select(j => Endpoint((i * 1000) + j))]));

        machine.Sync(options, cluster).Errors.ShouldBeEmpty();

        machine.Kernel.Ipset.List("KUBE-LOOP-BACK").ShouldHaveSingleItem().Entries.Count.ShouldBe(66_000);
        machine.Sync(options, cluster).Changes.ShouldBeEmpty();

        static ObjectName Name(int number) =>
            new("default", string.Create(System.Globalization.CultureInfo.InvariantCulture, $"many-{number}"));

        static Endpoint Endpoint(int number) => new(new IPAddress([10, (byte)(100 + (number >> 16)), (byte)(number >> 8), (byte)number]),
            true, true, false, "node1", null);
    }

    [Test]
    public async Task Foreign_state_and_excluded_networks_stay_by_default()
    {
        var scenario = Scenario.Load("29-exclude-cidrs");
        await using var machine = await Machine.StartAsync(scenario);
        await machine.Node.Command("bash", "-c", scenario.Read("pre.sh").Replace("snap 0-before", "", StringComparison.Ordinal))
            .ExecuteAsync();

        machine.Sync(scenario.Options() with { CompatKubeProxy = false }, scenario.ReadCluster()).Errors.ShouldBeEmpty();

        var state = await machine.StateAsync();
        state.Files["ipvsadm.txt"].ShouldContain("-A -t 172.30.5.5:80 -s wlc");
        state.Files["ipvsadm.txt"].ShouldContain("-A -f 77 -s rr");
        state.Files["addrs.txt"].ShouldContain("inet 172.30.5.5/32 scope global kube-ipvs0");
        state.Files["addrs.txt"].ShouldNotContain("inet 10.99.0.1/32 scope global kube-ipvs0");
        state.Files["ipset-save.txt"].ShouldContain("add MINE 1.2.3.4");
        state.Files["iptables-save.txt"].ShouldContain("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT");
        state.Files["iptables-save.txt"].ShouldContain("-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP");
    }

    [Test]
    public async Task Virtual_addresses_are_never_the_source_of_packets_of_the_node()
    {
        await using var machine = await Machine.StartAsync(Scenario.Load("20-dual-stack"));
        var node = machine.Node;
        machine.Sync(Options(), Cluster());
        // As Calico has its pods: behind links without addresses. The node's interface is made again, so that its index is the highest.
        foreach (var command in new[] { "ip link del eth0", "ip link add eth0 type dummy", "ip link set eth0 up",
            "ip address add 192.168.113.101/24 dev eth0", "ip address add fd00:113::101/64 dev eth0 nodad", "ip link add pod type dummy",
            "ip link set pod up", "ip route add 10.244.0.99 dev pod", "ip route add fd00:244::99 dev pod" })
            await node.RunAsync(command);

        (await node.RunAsync("ip -4 route get 10.244.0.99")).ShouldMatch(@"src (192\.168\.113\.101|10\.244\.0\.1) ");
        (await node.RunAsync("ip -6 route get fd00:244::99")).ShouldMatch("src (?!fd00:96::77 )fd00:");
        (await node.RunAsync("ip -4 -o address show dev kube-ipvs0")).ShouldContain("inet 10.96.0.77/32 scope host kube-ipvs0");
        (await node.RunAsync("ip -6 -o address show dev kube-ipvs0")).ShouldContain("inet6 fd00:96::77/128 scope global deprecated");
        machine.Sync(Options(), Cluster()).Changes.ShouldBeEmpty();
    }

    [TestCase("10.96.0.77/32", Description = "as kube-proxy binds it")]
    [TestCase("10.96.0.77/24", Description = "with a network")]
    [TestCase("172.30.9.9/16", Description = "nobody's")]
    public async Task Addresses_that_others_bound_are_bound_as_they_should_be_or_go(string address)
    {
        await using var machine = await Machine.StartAsync(Scenario.Load("01-empty"));
        await machine.Node.RunAsync("ip link add kube-ipvs0 type dummy");
        await machine.Node.RunAsync($"ip address add {address} dev kube-ipvs0");

        machine.Sync(Options(), Cluster()).Errors.ShouldBeEmpty();

        var there = (await machine.Node.RunAsync("ip -4 -o address show dev kube-ipvs0"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        there.ShouldHaveSingleItem().ShouldContain("inet 10.96.0.77/32 scope host kube-ipvs0");
        machine.Sync(Options(), Cluster()).Changes.ShouldBeEmpty();
    }

    private const string IptablesMode = """
        *nat
        :KUBE-SERVICES - [0:0]
        :KUBE-NODEPORTS - [0:0]
        :KUBE-SVC-ABCDEFGHIJKLMNOP - [0:0]
        :KUBE-SEP-ABCDEFGHIJKLMNOP - [0:0]
        :KUBE-PROXY-CANARY - [0:0]
        -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
        -A KUBE-SERVICES -d 10.96.0.77/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMNOP
        -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
        -A KUBE-SVC-ABCDEFGHIJKLMNOP -j KUBE-SEP-ABCDEFGHIJKLMNOP
        -A KUBE-SEP-ABCDEFGHIJKLMNOP -p tcp -m tcp -j DNAT --to-destination 10.244.0.9:8080
        COMMIT
        *filter
        :KUBE-EXTERNAL-SERVICES - [0:0]
        :KUBE-SERVICES - [0:0]
        :KUBE-FIREWALL - [0:0]
        :MINE - [0:0]
        -A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
        -A FORWARD -j MINE
        -A MINE -p udp -j KUBE-EXTERNAL-SERVICES
        -A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
        -A KUBE-EXTERNAL-SERVICES -p tcp -m tcp --dport 30080 -j REJECT
        COMMIT

        """;

    [Test]
    public async Task Leftovers_of_the_iptables_mode_are_reported_and_removed()
    {
        await using var machine = await Machine.StartAsync(Scenario.Load("01-empty"));
        await machine.Node.Command("iptables-restore", "--noflush").WithInput(IptablesMode).ExecuteAsync();

        var result = machine.Sync(Options(), Cluster());

        result.Errors.ShouldBeEmpty();
        result.Changes.Select(c => c.ToString())
            .ShouldContain("- IPv4 rule chain filter KUBE-EXTERNAL-SERVICES, left by kube-proxy's iptables mode");
        var rules = (await machine.StateAsync()).Files["iptables-save.txt"];
        rules.ShouldNotContain(r => r.Contains("KUBE-SVC-", StringComparison.Ordinal) || r.Contains("KUBE-SEP-", StringComparison.Ordinal)
            || r.Contains("KUBE-NODEPORTS", StringComparison.Ordinal)
            || r.Contains("EXTERNAL-SERVICES", StringComparison.Ordinal) || r.Contains("CANARY", StringComparison.Ordinal)
                || r == "-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES");
        rules.ShouldContain("-A FORWARD -j MINE", "others' rules stay");
        machine.Sync(Options(), Cluster()).Changes.ShouldBeEmpty();
    }

    [Test]
    public async Task Cleanup_removes_rules_of_others_that_lead_into_its_chains_and_leftovers()
    {
        await using var machine = await Machine.StartAsync(Scenario.Load("01-empty"));
        machine.Sync(Options(), Cluster());
        await machine.Node.Command("iptables-restore", "--noflush").WithInput(IptablesMode).ExecuteAsync();
        await machine.Node.RunAsync("iptables -A FORWARD -i eth0 -j KUBE-FORWARD");

        new Cleaner(machine.Kernel, Options()).Clean().Errors.ShouldBeEmpty();

        (await machine.StateAsync()).Files["iptables-save.txt"].Where(r => r.Contains("KUBE-", StringComparison.Ordinal))
            .ShouldBe([":KUBE-FIREWALL - [0:0]"], "a kubelet's");
        new Cleaner(machine.Kernel, Options()).Clean()
            .ShouldSatisfyAllConditions(again => again.Errors.ShouldBeEmpty(), again => again.Changes.ShouldBeEmpty());
    }

    private static GeneratorOptions Options() => new() { HostnameOverride = "node1", ConntrackMaxPerCore = 0 };

    private static Cluster Cluster()
    {
        var cluster = new Cluster();
        cluster.Put(new Service
        {
            Name = new ObjectName("default", "both"),
            ClusterIPs = [IPAddress.Parse("10.96.0.77"), IPAddress.Parse("fd00:96::77")],
            Ports = [new ServicePort("", TransportProtocol.Tcp, 80, 0)]
        });
        return cluster;
    }

    [TestCase("wrr")]
    [TestCase("lc")]
    [TestCase("wlc")]
    [TestCase("sh")]
    [TestCase("dh")]
    [TestCase("mh")]
    [TestCase("sed")]
    [TestCase("nq")]
    public async Task A_scheduler_is_set_as_recorded_and_changed_in_place(string scheduler)
    {
        var scenario = Scenario.Load("25-schedulers");
        await using var machine = await Machine.StartAsync(scenario);
        machine.Sync(scenario.Options(), scenario.ReadCluster());

        var changed = machine.Sync(scenario.Options($"--ipvs-scheduler={scheduler}"), scenario.ReadCluster());

        changed.Changes.Select(c => (c.Kind, c.Verb)).Distinct().ShouldBe([("virtual server", "edit")]);
        var recorded = scenario.Read($"ipvsadm-{scheduler}.txt").Split('\n').Where(l => l.StartsWith('-')).Order(StringComparer.Ordinal);
        (await machine.StateAsync()).Files["ipvsadm.txt"].Where(l => l.StartsWith('-')).ShouldBe(recorded);
    }
}

/// <summary>A node with the recording's interfaces, and the generator's way into its kernel.</summary>
internal sealed class Machine : IAsyncDisposable
{
    private readonly Lab _lab;
    private readonly Synchronizer _synchronizer;

    private Machine(Lab lab, IptablesVariant iptables)
    {
        _lab = lab;
        Kernel = new KernelPort(Node.Namespace, iptables);
        _synchronizer = new Synchronizer(Kernel);
    }

    internal Node Node => _lab["node1"];

    internal KernelPort Kernel { get; }

    internal Synchronizer Synchronizer => _synchronizer;

    internal static async Task<Machine> StartAsync(Scenario scenario)
    {
        var lab = await Lab.StartAsync(Topology.Load("generator-node"), capture: false);
        GoldenTests.PrepareMachine(lab["node1"], scenario);
        return new Machine(lab, Toolbox.Iptables);
    }

    internal Task<KernelState> StateAsync() => KernelState.ReadAsync(Node);

    internal SyncResult Sync(GeneratorOptions options, Cluster cluster)
    {
        var node = NodeStates.Of(options, cluster, Kernel.NodeAddresses());
        return _synchronizer.SyncAll(new World(options, node, cluster).Desired, node);
    }

    public async ValueTask DisposeAsync()
    {
        Kernel.Dispose();
        await _lab.DisposeAsync();
    }
}
