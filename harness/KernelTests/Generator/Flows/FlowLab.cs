using System.Globalization;
using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sync;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Topologies;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>
/// The topology "cluster" with the generator's state on both nodes, made in this process: no proxy runs, so that thousands of states
/// take minutes.
/// </summary>
internal sealed class FlowLab : IAsyncDisposable
{
    internal static readonly string[] Nodes = ["node1", "node2"];

    /// <summary>To these the client's way is node1.</summary>
    private static readonly string[] s_serviceNetworks = ["10.96.0.0/16", "203.0.113.0/24", "fd00:10:96::/48", "2001:db8::/32"];

    private readonly GeneratorOptions _options;
    private readonly bool _ownsLab;
    private readonly Dictionary<string, (KernelPort Kernel, Synchronizer Synchronizer)> _machines = [];

    private FlowLab(Lab lab, GeneratorOptions options, bool ownsLab) => (Lab, _options, _ownsLab) = (lab, options, ownsLab);

    internal Lab Lab { get; }

    /// <summary>Those that the kernel has.</summary>
    internal IReadOnlyList<TransportProtocol> Protocols { get; } =
        [TransportProtocol.Tcp, TransportProtocol.Udp, .. KernelFeatures.Current.Has(Feature.Sctp) ? new[] { TransportProtocol.Sctp } : []];

    /// <param name="options">By which the flows are explained.</param>
    /// <param name="existing">A lab whose nodes have proxies; else one is made.</param>
    internal static async Task<FlowLab> StartAsync(GeneratorOptions options, Lab? existing = null)
    {
        var lab = existing ?? await Lab.StartAsync(Topology.Load("cluster"), capture: false);
        var flows = new FlowLab(lab, options, ownsLab: existing is null);
        try
        {
            foreach (var name in Nodes)
            {
                var kernel = new KernelPort(lab[name].Namespace, Toolbox.Iptables);
                flows._machines[name] = (kernel, new Synchronizer(kernel));
            }
            if (flows.Protocols.Contains(TransportProtocol.Sctp))
            {
                foreach (var pod in FlowCase.Pods[..FlowCase.Serving])
                    lab[pod.Name].Serve(TransportProtocol.Sctp, FlowCase.PodPort);
            }
            // On one processor an error would come before connect() has returned, while it holds the socket: TCP passes over it, and
            // IPv6 has no second one before the first packet is sent again.
            foreach (var node in lab.Nodes)
            {
                var device = Nodes.Contains(node.Name, StringComparer.Ordinal) ? "lo" : node.Device;
                await node.RunAsync($"tc qdisc add dev {device} root netem delay 1ms");
            }
            foreach (var network in s_serviceNetworks.Select(IPNetwork.Parse))
                lab["client"].Route.AddRoute(network, lab["node1"].Addresses
                    .First(a => a.AddressFamily == network.BaseAddress.AddressFamily));
            return flows;
        }
        catch
        {
            await flows.DisposeAsync();
            throw;
        }
    }

    /// <summary>Makes both nodes what the objects ask for.</summary>
    /// <returns>The ways of flows, as the explanations say.</returns>
    internal FlowPaths Sync(FlowCase wanted)
    {
        var worlds = WorldsOf(wanted, _options);
        foreach (var (name, world) in worlds)
            _machines[name].Synchronizer.SyncAll(world.Desired, world.Node).Errors.ShouldBeEmpty();
        return new FlowPaths(Lab, worlds);
    }

    /// <summary>The ways of flows where proxies make the nodes what the objects ask for.</summary>
    internal FlowPaths Explain(FlowCase wanted) => new(Lab, WorldsOf(wanted, _options));

    /// <summary>What is decided on each node.</summary>
    internal Dictionary<string, World> WorldsOf(FlowCase wanted, GeneratorOptions given)
    {
        var cluster = wanted.ToCluster(Nodes.Select(NodeOf));
        return Nodes.ToDictionary(n => n, name =>
        {
            var options = given with { HostnameOverride = name };
            return new World(options, NodeStates.Of(options, cluster, _machines[name].Kernel.NodeAddresses()), cluster);
        }, StringComparer.Ordinal);
    }

    /// <summary>How often each rule of the generator's has matched, by node and family.</summary>
    internal async Task<Dictionary<(string Node, bool IsIPv6, string Rule), long>> CountersAsync()
    {
        var counters = new Dictionary<(string, bool, string), long>();
        foreach (var name in Nodes)
        {
            foreach (var (command, isIPv6) in new[] { ("iptables-save -c", false), ("ip6tables-save -c", true) })
            {
                var table = "";
                foreach (var line in (await Lab[name].RunAsync(command)).Split('\n'))
                {
                    if (line.StartsWith('*'))
                        table = line[1..];
                    else if (line.Split(' ', 4) is [['[', ..] count, "-A", var chain, var rule]
                        && chain.StartsWith("KUBE-", StringComparison.Ordinal) && IsCompared(table, rule))
                        counters[(name, isIPv6, $"{table} {chain} {rule}")] = long.Parse(count[1..count.IndexOf(':',
                            StringComparison.Ordinal)],
                            CultureInfo.InvariantCulture);
                }
            }
        }
        return counters;
    }

    /// <summary>
    /// Only rules that nothing but Services' traffic matches. Those of nat see the first packet of a connection, those of filter all: of
    /// them only those that let no second one come.
    /// </summary>
    internal static bool IsCompared(string table, string rule) => table == RuleSet.NatTable
        ? rule.Contains("--match-set", StringComparison.Ordinal) || rule.Contains("-j MASQUERADE", StringComparison.Ordinal)
        : rule.EndsWith("-j DROP", StringComparison.Ordinal) || rule.Contains("-j REJECT", StringComparison.Ordinal);

    public async ValueTask DisposeAsync()
    {
        foreach (var (kernel, _) in _machines.Values)
            kernel.Dispose();
        if (_ownsLab)
            await Lab.DisposeAsync();
    }

    private NodeObject NodeOf(string name) => new(name, $"zone-{name}",
        [.. Lab[name].Spec.Interfaces.Where(i => i.IsBridge).SelectMany(i => new[] { i.Network.Subnet, i.Network.Subnet6!.Value })],
        [.. Lab[name].Spec.Interfaces[0].Addresses]);
}
