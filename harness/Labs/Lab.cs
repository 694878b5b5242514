using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Sysctls;
using Conformance.Packets;
using Conformance.Topologies;
using Shouldly;

namespace Conformance.Labs;

/// <summary>Something that was done to a node, in words, since the lab's start.</summary>
/// <param name="Scope">Who did it: the test, where several share a lab.</param>
public sealed record JournalEntry(TimeSpan At, string Node, string Text, string Scope);

/// <summary>Something that a test has read of a node: a table, or the output of a command.</summary>
/// <param name="Scope">The test, where several share a lab.</param>
public sealed record Observation(string Node, string Title, string Text, string Scope);

/// <summary>
/// A running topology. Every node and every network (a switch: a bridge) is a network namespace that only this
/// process holds; nothing is made in the root namespace, and the process's end is the lab's end.
/// </summary>
public sealed class Lab : IAsyncDisposable
{
    private const string BridgeName = "switch";
    private const int MaxObservation = 4000; // characters
    private static readonly TimeSpan s_closing = TimeSpan.FromSeconds(5); // on a busy machine; hardly ever used up
    private readonly List<NetworkNamespace> _switches = [];
    private readonly Dictionary<string, Node> _nodes = new(StringComparer.Ordinal);
    private readonly List<JournalEntry> _journal = [];
    private readonly OrderedDictionary<(string Node, string Title, string Scope), Observation> _observations = [];
    private readonly Stopwatch _sinceStart = Stopwatch.StartNew();
    private int _disposed;
    private bool _isGuest;

    private Lab(Topology topology) => Topology = topology;

    /// <summary>Names who acts on labs now: the running test. A suite whose tests share a lab sets it.</summary>
    public static Func<string> CurrentScope { get; set; } = () => "";

    /// <summary>The topology that the lab runs.</summary>
    public Topology Topology { get; }

    /// <summary>Whether TCP servers wait a moment for an HTTP request before they greet.</summary>
    public bool AnswersHttp { get; private init; }

    /// <summary>The nodes in the order of the topology.</summary>
    public IReadOnlyCollection<Node> Nodes => _nodes.Values;

    /// <summary>What every interface of every node saw.</summary>
    public Wire Wire { get; } = new();

    /// <summary>What was done to the nodes, oldest first.</summary>
    public IReadOnlyList<JournalEntry> Journal
    {
        get
        {
            lock (_journal)
                return [.. _journal];
        }
    }

    /// <summary>The node of this name.</summary>
    /// <exception cref="HarnessException">The topology has no such node.</exception>
    public Node this[string name] => _nodes.TryGetValue(name, out var node) ? node : throw new HarnessException(
        $"The lab {Topology.Name} has no node '{name}'.",
        $"Its nodes are {string.Join(", ", _nodes.Keys)}.{Nearest.Hint(name, _nodes.Keys)}",
        "The step was not carried out.",
        "Name one of its nodes.");

    /// <summary>Builds the lab: namespaces, links, addresses, gateways, servers, captures.</summary>
    /// <param name="capture">Whether every interface is captured from the start; without it there are no stories.</param>
    /// <param name="answersHttp">Whether TCP servers wait a moment for an HTTP request before they greet, so that people can use
    /// curl.</param>
    /// <exception cref="KernelException">Not root, or the kernel lacks something; what was built is gone again.</exception>
    /// <exception cref="HarnessException">A link or a container does not come up in time.</exception>
    public static async Task<Lab> StartAsync(Topology topology, bool capture = true, bool answersHttp = false)
    {
        await Toolbox.PrepareAsync();
        if (topology.Networks.Any(n => n.Host is not null))
            await Toolbox.PrepareBridgesAsync();
        var lab = new Lab(topology) { AnswersHttp = answersHttp };
        try
        {
            lab.Build(capture);
            await lab.WaitForPortsAsync();
            foreach (var overlay in topology.Overlays)
                await lab.MasqueradeAsync(overlay);
            await Task.WhenAll(lab._nodes.Values.Where(n => n.Spec.Image is not null)
                .Select(n => n.StartContainerAsync(n.Spec.Image!)));
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Enters a lab that another process holds, to ask and observe in it: that process owns its servers and its end.
    /// </summary>
    /// <param name="namespaces">For each node the path by which its namespace can be opened.</param>
    public static async Task<Lab> AttachAsync(Topology topology, IReadOnlyDictionary<string, string> namespaces)
    {
        await Toolbox.PrepareAsync();
        var lab = new Lab(topology) { _isGuest = true };
        foreach (var spec in topology.Nodes)
            lab._nodes.Add(spec.Name, new Node(lab, spec, NetworkNamespace.Open(spec.Name, namespaces[spec.Name])));
        foreach (var node in lab._nodes.Values)
            node.CaptureAll();
        return lab;
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
            throw new HarnessException($"'{text}' is not an end point.", "Behind the colon stands no port.",
                "The step was not carried out.", "Write NODE:PORT or ADDRESS:PORT.");
        return new IPEndPoint(this[name].Address, port);
    }

    /// <summary>The node that owns an address of the topology, or has been given it; null when none has.</summary>
    public Node? OwnerOf(IPAddress address) =>
        _nodes.Values.FirstOrDefault(n => n.Spec.Interfaces.Any(i => i.Addresses.Contains(address)) || n.Spec.Loopback.Contains(address))
        ?? _nodes.Values.FirstOrDefault(n => n.AddedAddresses.Contains(address));

    /// <summary>The namespaces of nodes and switches.</summary>
    internal IEnumerable<NetworkNamespace> Namespaces => _nodes.Values.Select(n => n.Namespace).Concat(_switches);

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
        var namespaces = Namespaces.ToList();
        var holders = NamespaceUse.HoldersOf(namespaces);
        for (var end = Environment.TickCount64 + s_closing.TotalMilliseconds; holders.Count > 0 && !_isGuest
            && Environment.TickCount64 < end; holders = NamespaceUse.HoldersOf(namespaces))
            await Task.Delay(10); // a socket with a pending operation is closed when the operation has ended
        foreach (var ns in namespaces)
            ns.Dispose();
        if (holders.Count > 0 && !_isGuest)
        {
            throw new HarnessException(
                $"The lab {Topology.Name} is not gone after its disposal.", string.Join("; ", holders),
                "Its namespaces stay until these end.",
                "Whoever opened them must close them; a thread means that something asynchronous ran inside.");
        }
    }

    /// <summary>What tests have read of nodes, in the order of the first read; of a repeated read the last value.</summary>
    public IReadOnlyList<Observation> Observations
    {
        get
        {
            lock (_observations)
                return [.. _observations.Values];
        }
    }

    /// <summary>Keeps what the running test has read.</summary>
    /// <param name="title">The read thing: a table, or a command line.</param>
    public void Observe(Node node, string title, string text)
    {
        var observation = new Observation(node.Name, title, text.Length <= MaxObservation ? text : $"{text[..MaxObservation]}...",
            CurrentScope());
        lock (_observations)
            _observations[(node.Name, title, observation.Scope)] = observation;
    }

    /// <summary>Lets go of what a test did and read, when its record has been written.</summary>
    public void Forget(string scope)
    {
        lock (_observations)
        {
            foreach (var key in _observations.Keys.Where(k => k.Scope == scope).ToList())
                _observations.Remove(key);
        }
        lock (_journal)
            _journal.RemoveAll(e => e.Scope == scope);
    }

    /// <summary>Adds an entry to the journal.</summary>
    public void Note(Node node, string text)
    {
        lock (_journal)
            _journal.Add(new JournalEntry(_sinceStart.Elapsed, node.Name, text, CurrentScope()));
    }

    private void Build(bool capture)
    {
        foreach (var spec in Topology.Nodes)
        {
            var node = new Node(this, spec, LabNamespaces.Create($"{Topology.Name}/{spec.Name}", spec.Tunnels));
            _nodes.Add(spec.Name, node);
            // Before the interfaces come: they start from the namespace's defaults.
            NodeSysctls.Apply(node.Namespace, spec.Forwarding);
        }
        foreach (var network in Topology.Networks)
        {
            if (network.Host is null)
                AddSwitch(network);
            else
                AddBridge(network, this[network.Host]);
        }
        foreach (var node in _nodes.Values)
        {
            node.Start();
        }
        foreach (var overlay in Topology.Overlays)
            AddOverlay(overlay);
        if (capture)
        {
            foreach (var node in _nodes.Values)
                node.CaptureAll();
        }
    }

    /// <summary>
    /// Waits until every port of a bridge forwards. The kernel starts a link some time after it gets a carrier (linkwatch_do_dev of
    /// net/core/link_watch.c). Until then a port does not forward, and a lost ARP request is repeated after one second. The other end of
    /// a port gets its carrier while it is set up, and carries packets at once (veth_open of drivers/net/veth.c).
    /// </summary>
    private async Task WaitForPortsAsync()
    {
        var hosts = Topology.Networks.Where(n => n.Host is not null).Select(n => this[n.Host!].Namespace);
        foreach (var ns in _switches.Concat(hosts).Distinct()) // only these have bridges
        {
            using var route = new RouteSocket(ns);
            try
            {
                await Eventually.Async("every port forwards", () => route.Links().Where(l => l is { Master: not 0, IsOperational: false })
                    .Select(l => l.Name).ToList(), waiting => waiting.Count == 0, pause: TimeSpan.FromMilliseconds(1));
            }
            catch (ShouldAssertException e)
            {
                throw new HarnessException($"A link of the lab {Topology.Name} does not come up.", $"{ns}: {e.Message}",
                    "The lab was not built.", "Try again; see dmesg of this kernel, and whether the machine has processor time.");
            }
        }
    }

    private void AddSwitch(Network network)
    {
        var ns = LabNamespaces.Create($"{Topology.Name}/{network.Name}", tunnels: false);
        _switches.Add(ns);
        if (Sysctl.Exists("net.ipv6.conf.default.disable_ipv6"))
            Sysctl.Write(ns, "net.ipv6.conf.default.disable_ipv6", "1");
        // Where br_netfilter is loaded, a switch would send its frames through iptables.
        foreach (var sysctl in NodeSysctls.BridgeFilters.Where(Sysctl.Exists))
            Sysctl.Write(ns, sysctl, "0");
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

    /// <summary>A bridge inside a node, as a Kubernetes node has for its pods: hairpin mode on, and its frames pass iptables.</summary>
    private void AddBridge(Network network, Node host)
    {
        foreach (var sysctl in NodeSysctls.BridgeFilters)
            Sysctl.Write(host.Namespace, sysctl, "1");
        host.Route.AddBridge(network.Bridge, network.Mtu, MacOf(host.Spec.Interfaces.First(i => i.Network == network).Address));
        foreach (var node in _nodes.Values)
        {
            if (node.Spec.Interfaces.FirstOrDefault(i => i.Network == network && !i.IsBridge) is not { } end)
                continue;
            host.Route.AddVeth(node.Name, end.Device, node.Namespace, MacOf(end.Address), network.Mtu);
            host.Route.SetLink(node.Name, master: network.Bridge);
            host.Route.SetHairpin(node.Name);
        }
    }

    /// <summary>
    /// On each node a VXLAN device for each family, with the networks of the others behind it; flannel's own addresses and routes.
    /// </summary>
    private void AddOverlay(Overlay overlay)
    {
        var ends = overlay.Joins.Select(n => (Network: n, Host: this[n.Host!])).ToList();
        foreach (var ipv6 in overlay.Over.Subnet6 is null ? new[] { false } : [false, true])
        {
            var device = overlay.DeviceFor(ipv6);
            foreach (var (network, host) in ends)
            {
                host.Route.AddVxlan(device, overlay.Vni, overlay.Port, (overlay.Over.Device, Outer(host)), MacOfOverlay(host), network.Mtu);
                host.Route.SetLink(device);
                host.Route.AddAddress(device, Subnet(network).BaseAddress, ipv6 ? 128 : 32);
            }
            foreach (var (from, to) in ends.SelectMany(a => ends.Where(b => b.Host != a.Host).Select(b => (a, b))))
            {
                from.Host.Route.AddRoute(Subnet(to.Network), Subnet(to.Network).BaseAddress, device);
                from.Host.Route.AddNeighbour(device, Subnet(to.Network).BaseAddress, MacOfOverlay(to.Host));
                from.Host.Route.AddForwarding(device, MacOfOverlay(to.Host), Outer(to.Host));
            }

            IPAddress Outer(Node host) => host.Spec.Interfaces.First(i => i.Network == overlay.Over) is var end && ipv6 ? end.Address6!
                : end.Address;

            IPNetwork Subnet(Network network) => ipv6 ? network.Subnet6!.Value : network.Subnet;
        }

        static PhysicalAddress MacOfOverlay(Node host) => new([0x02, 0x01, .. host.Address.GetAddressBytes()[^4..]]);
    }

    private async Task MasqueradeAsync(Overlay overlay)
    {
        if (overlay.Masquerade is not { } all)
            return;
        foreach (var network in overlay.Joins)
            await this[network.Host!].Iptables.RestoreAsync(FlannelRules.Document(all, network));
    }

    /// <summary>A locally administered MAC address that shows the (IPv4) address: 02:00 and its four bytes.</summary>
    private static PhysicalAddress MacOf(IPAddress address) => new([0x02, 0x00, .. address.GetAddressBytes()[^4..]]);
}
