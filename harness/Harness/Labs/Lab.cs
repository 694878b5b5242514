using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using Conformance.Harness.Observation;
using Conformance.Kernel;
using Conformance.Kernel.Netlink;
using Conformance.Topologies;

namespace Conformance.Harness.Labs;

/// <summary>Something that was done to a node, in words, since the lab's start.</summary>
public sealed record JournalEntry(TimeSpan At, string Node, string Text);

/// <summary>
/// A running topology. Every node and every network (a switch: a bridge) is a network namespace that only this
/// process holds; nothing is made in the root namespace, and the process's end is the lab's end.
/// </summary>
public sealed class Lab : IAsyncDisposable
{
    private const string BridgeName = "switch";
    private static readonly TimeSpan s_closing = TimeSpan.FromSeconds(2);
    private readonly List<NetworkNamespace> _switches = [];
    private readonly Dictionary<string, Node> _nodes = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<JournalEntry> _journal = new();
    private readonly Stopwatch _sinceStart = Stopwatch.StartNew();
    private int _disposed;

    private Lab(Topology topology) => Topology = topology;

    public Topology Topology { get; }

    public IReadOnlyCollection<Node> Nodes => _nodes.Values;

    /// <summary>What every interface of every node saw.</summary>
    public Wire Wire { get; } = new();

    /// <summary>What was done to the nodes, oldest first.</summary>
    public IReadOnlyList<JournalEntry> Journal => [.. _journal];

    /// <summary>The node of this name.</summary>
    /// <exception cref="HarnessException">The topology has no such node.</exception>
    public Node this[string name] => _nodes.TryGetValue(name, out var node) ? node : throw new HarnessException(
        $"The lab {Topology.Name} has no node '{name}'.",
        $"Its nodes are {string.Join(", ", _nodes.Keys)}.{Nearest.Hint(name, _nodes.Keys)}",
        "The step was not carried out.",
        "Name one of its nodes.");

    /// <summary>Builds the lab: namespaces, links, addresses, gateways, servers, captures.</summary>
    /// <param name="capture">Whether every interface is captured from the start; without it there are no stories.</param>
    /// <exception cref="KernelException">Not root, or the kernel lacks something; what was built is gone again.</exception>
    public static async Task<Lab> StartAsync(Topology topology, bool capture = true)
    {
        await Toolbox.PrepareAsync();
        var lab = new Lab(topology);
        try
        {
            lab.Build(capture);
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// The end point that a text stands for: <c>ADDRESS:PORT</c>, <c>NODE:PORT</c>, or without a port (then port 0).
    /// A node stands for its first address.
    /// </summary>
    public IPEndPoint Resolve(string text)
    {
        if (IPEndPoint.TryParse(text, out var literal))
            return literal;
        var colon = text.LastIndexOf(':');
        var name = colon < 0 ? text : text[..colon];
        var port = 0;
        if (colon >= 0 && !int.TryParse(text.AsSpan(colon + 1), System.Globalization.CultureInfo.InvariantCulture, out port))
            throw new HarnessException($"'{text}' is not an end point.", "Behind the colon stands no port.", "The step was not carried out.", "Write NODE:PORT or ADDRESS:PORT.");
        return new IPEndPoint(this[name].Address, port);
    }

    /// <summary>The node that owns an address of the topology, or has been given it; null when none has.</summary>
    public Node? OwnerOf(IPAddress address) =>
        _nodes.Values.FirstOrDefault(n => n.Spec.Interfaces.Any(i => i.Address.Equals(address)))
        ?? _nodes.Values.FirstOrDefault(n => n.AddedAddresses.Contains(address));

    /// <summary>Ends servers and captures, lets the namespaces go, and makes sure that nothing of this process is left in them.</summary>
    /// <exception cref="HarnessException">A thread, socket or process is still inside one of the lab's namespaces.</exception>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        Wire.Dispose();
        foreach (var node in _nodes.Values)
            await node.DisposeAsync();
        // While the descriptors are open: afterwards the kernel may give the same inode numbers to another lab.
        var namespaces = _nodes.Values.Select(n => n.Namespace).Concat(_switches).ToList();
        var inodes = namespaces.Select(ns => ns.Inode).ToHashSet();
        var holders = NamespaceUse.HoldersOf(inodes);
        for (var end = Environment.TickCount64 + s_closing.TotalMilliseconds; holders.Count > 0 && Environment.TickCount64 < end; holders = NamespaceUse.HoldersOf(inodes))
            await Task.Delay(10); // a socket with a pending operation is closed when the operation has ended
        foreach (var ns in namespaces)
            ns.Dispose();
        if (holders.Count > 0)
        {
            throw new HarnessException(
                $"The lab {Topology.Name} is not gone after its disposal.", string.Join("; ", holders),
                "Its namespaces stay until these end.", "Whoever opened them must close them; a thread means that something asynchronous ran inside.");
        }
    }

    internal void Note(Node node, string text) => _journal.Enqueue(new JournalEntry(_sinceStart.Elapsed, node.Name, text));

    private void Build(bool capture)
    {
        foreach (var spec in Topology.Nodes)
        {
            var node = new Node(this, spec);
            _nodes.Add(spec.Name, node);
            // Before the interfaces come: they start from the namespace's defaults.
            NodeSysctls.Apply(node.Namespace, spec.Forwarding);
        }
        foreach (var network in Topology.Networks)
            AddSwitch(network);
        foreach (var node in _nodes.Values)
        {
            node.Start();
            if (capture)
                node.CaptureAll();
        }
    }

    private void AddSwitch(Network network)
    {
        var ns = NetworkNamespace.Create($"{Topology.Name}/{network.Name}");
        _switches.Add(ns);
        if (Sysctl.Exists("net.ipv6.conf.default.disable_ipv6"))
            Sysctl.Write(ns, "net.ipv6.conf.default.disable_ipv6", "1");
        using var route = new RouteSocket(ns);
        route.AddBridge(BridgeName);
        route.SetLink(BridgeName);
        foreach (var node in _nodes.Values)
        {
            if (node.Spec.Interfaces.FirstOrDefault(i => i.Network == network) is not { } end)
                continue;
            route.AddVeth(node.Name, end.Device, node.Namespace, MacOf(end.Address));
            route.SetLink(node.Name, master: BridgeName);
        }
    }

    /// <summary>A locally administered MAC address that shows the (IPv4) address: 02:00 and its four bytes.</summary>
    private static PhysicalAddress MacOf(IPAddress address) => new([0x02, 0x00, .. address.GetAddressBytes()[^4..]]);
}
