using System.Net;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Sockets;
using Conformance.Linux.Sysctls;
using Conformance.Packets;
using Conformance.Topologies;

namespace Conformance.Labs;

/// <summary>A host of a lab: a network namespace with its interfaces, its servers, and the tools to set and observe it.</summary>
public sealed class Node : IAsyncDisposable
{
    private readonly List<IAsyncDisposable> _owned = [];
    private readonly List<IPAddress> _added = [];
    private readonly List<Server> _servers = [];
    private readonly Lock _lock = new(); // tests that share a lab start servers at the same time
    private readonly Dictionary<Type, IAsyncDisposable> _parts = [];

    internal Node(Lab lab, NodeSpec spec, NetworkNamespace ns)
    {
        Lab = lab;
        Spec = spec;
        Namespace = ns;
        Route = new RouteSocket(Namespace);
        Ipvs = new IpvsAdmin(this);
        Iptables = new NodeIptables(this);
    }

    /// <summary>The lab of the node.</summary>
    public Lab Lab { get; }

    /// <summary>The node in the topology.</summary>
    public NodeSpec Spec { get; }

    /// <summary>The name in the topology.</summary>
    public string Name => Spec.Name;

    /// <summary>The network namespace that is the node.</summary>
    public NetworkNamespace Namespace { get; }

    /// <summary>Links, addresses, routes and neighbours.</summary>
    public RouteSocket Route { get; }

    /// <summary>Sets virtual and real servers.</summary>
    public IpvsAdmin Ipvs { get; }

    /// <summary>Sets and reads iptables rules.</summary>
    public NodeIptables Iptables { get; }

    /// <summary>The node's first address in the topology.</summary>
    public IPAddress Address => Spec.Interfaces[0].Address;

    /// <summary>The addresses that the topology gives it: of its links, its bridge and its end of an overlay.</summary>
    public IReadOnlyList<IPAddress> Addresses =>
    [
        .. Spec.Interfaces.SelectMany(i => i.Addresses).Union(Spec.Loopback),
        .. Lab.Topology.Overlays.SelectMany(o => o.Joins).Where(n => n.Host == Name)
        .SelectMany(n => new[] { n.Subnet.BaseAddress, n.Subnet6?.BaseAddress }).OfType<IPAddress>(),
    ];

    /// <summary>The name of the node's first interface.</summary>
    public string Device => Spec.Interfaces[0].Device;

    /// <summary>The node's servers.</summary>
    public IReadOnlyList<Server> Servers
    {
        get
        {
            lock (_lock)
                return [.. _servers];
        }
    }

    /// <summary>What runs in the node as a container; null where nothing does.</summary>
    public Container? Container { get; private set; }

    /// <summary>One at a time can follow the rules of a node: the kernel has one logger for each namespace.</summary>
    internal SemaphoreSlim TraceLock { get; } = new(1);

    internal IReadOnlyCollection<IPAddress> AddedAddresses => _added;

    /// <summary>Whether an address of the topology, or one that was added, is the node's.</summary>
    public bool Owns(IPAddress address) => Addresses.Contains(address) || _added.Contains(address);

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>Adds an address such as <c>10.10.0.1/24</c> to an interface, the node's first one unless named.</summary>
    public Task AddAddressAsync(string addressWithPrefix, string? device = null)
    {
        var (address, length) = ParsePrefix(addressWithPrefix);
        Lab.Note(this, $"add the address {addressWithPrefix} to {device ?? Device}");
        Route.AddAddress(device ?? Device, address, length);
        _added.Add(address);
        return Task.CompletedTask;
    }

    /// <summary>Deletes an address such as <c>10.10.0.1/24</c> of an interface, the node's first one unless named.</summary>
    public Task DeleteAddressAsync(string addressWithPrefix, string? device = null)
    {
        var (address, length) = ParsePrefix(addressWithPrefix);
        Lab.Note(this, $"delete the address {addressWithPrefix} of {device ?? Device}");
        Route.DeleteAddress(device ?? Device, address, length);
        _added.Remove(address);
        return Task.CompletedTask;
    }

    /// <summary>Adds a route through another node, by the first address of that node that this one can reach directly.</summary>
    public Task AddRouteAsync(string destination, Node via)
    {
        var gateway = via.Spec.Interfaces.FirstOrDefault(theirs => Spec.Interfaces.Any(ours => ours.Network == theirs.Network))
            ?? throw new HarnessException($"{Name} has no network in common with {via.Name}.", $"Topology {Lab.Topology.Name}.",
                "The route was not added.", "Route through a neighbour.");
        Lab.Note(this, $"add the route to {destination} through {via.Name}");
        Route.AddRoute(IPNetwork.Parse(destination), gateway.Address);
        return Task.CompletedTask;
    }

    /// <summary>Deletes a route by its destination.</summary>
    public Task DeleteRouteAsync(string destination)
    {
        Lab.Note(this, $"delete the route to {destination}");
        Route.DeleteRoute(IPNetwork.Parse(destination));
        return Task.CompletedTask;
    }

    /// <summary>Sets a sysctl in the node's namespace.</summary>
    public Task SetSysctlAsync(string name, string value)
    {
        Lab.Note(this, $"set the sysctl {name} = {value}");
        Sysctl.Write(Namespace, name, value);
        return Task.CompletedTask;
    }

    /// <summary>Runs a command line in the node, without a shell, split at spaces. A failure explains itself.</summary>
    /// <returns>Its standard output.</returns>
    public async Task<string> RunAsync(string commandLine) =>
        (await new NodeCommand(this, commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ExecuteAsync()).StandardOutput;

    /// <summary>A command in the node, for more control than <see cref="RunAsync"/> gives.</summary>
    public NodeCommand Command(params string[] argv) => new(this, argv);

    /// <summary>Starts a server on a port, which answers until the lab ends or it is stopped.</summary>
    /// <param name="address">The only address that it serves; null for all. A server of UDP on all addresses answers from the address of
    /// the route to the client, which need not be the one that was asked.</param>
    public Server Serve(TransportProtocol protocol, int port, string? address = null)
    {
        var only = address is null ? null : IPAddress.Parse(address);
        Server server = protocol == TransportProtocol.Udp ? new UdpServer(this, port, only) : new StreamServer(this, protocol, port, only);
        lock (_lock)
            _servers.Add(server);
        return Own(server);
    }

    /// <summary>Stops the server on a port, so that another program can have it.</summary>
    public async Task StopServingAsync(TransportProtocol protocol, int port)
    {
        var server = Servers.Single(s => s.Protocol == protocol && s.Port == port);
        lock (_lock)
        {
            _servers.Remove(server);
            _owned.Remove(server);
        }
        await server.DisposeAsync();
        // A socket is closed only when the runtime has let go of it; until then the kernel still takes what arrives.
        if (protocol != TransportProtocol.Sctp)
            await Eventually.Async($"nothing listens on port {port} of {Name}",
                () => protocol == TransportProtocol.Tcp ? ListeningSockets.Tcp(Namespace) : ListeningSockets.Udp(Namespace),
                ports => !ports.Contains(port));
    }

    /// <summary>Starts a program that stays in the foreground, and waits until it listens on a TCP port.</summary>
    /// <exception cref="CommandFailedException">It ended, or does not listen.</exception>
    public async Task<ServerProgram> StartAsync(int port, params string[] argv) =>
        Own(await ServerProgram.StartAsync(Command(argv), port, () => ListeningSockets.Tcp(Namespace)));

    /// <summary>Starts nginx, which answers every request with the node's name and the client's address and port.</summary>
    public async Task<ServerProgram> StartNginxAsync(int port) => Own(await Nginx.StartAsync(this, port));

    /// <summary>The virtual servers; none where the kernel has no IPVS.</summary>
    public IpvsTable IpvsTable() => Observed("virtual servers", ReadIpvsTable());

    /// <summary>The IPVS connections.</summary>
    public IReadOnlyList<IpvsConnection> IpvsConnections() => ObservedLines("IPVS connections", IpvsConnection.Read(Namespace));

    /// <summary>The conntrack entries.</summary>
    public IReadOnlyList<ConntrackEntry> Conntrack() => ObservedLines("conntrack entries", ConntrackEntry.Read(Namespace));

    /// <summary>The conntrack entries of one family and protocol whose original direction comes from one port.</summary>
    public IReadOnlyList<ConntrackEntry> Conntrack(bool isIPv6, TransportProtocol protocol, int sourcePort) =>
        ObservedLines("conntrack entries", ConntrackEntry.Read(Namespace, isIPv6, protocol, sourcePort));

    /// <summary>The node's tables that have entries, as text: virtual servers, IPVS connections, conntrack entries.</summary>
    public IEnumerable<(string Title, string Text)> Tables()
    {
        if (ReadIpvsTable() is { VirtualServers.Count: > 0 } table)
            yield return ("virtual servers", table.ToString());
        if (IpvsConnection.Read(Namespace) is { Count: > 0 } connections)
            yield return ("IPVS connections", string.Join('\n', connections));
        if (ConntrackEntry.Read(Namespace) is { Count: > 0 } entries)
            yield return ("conntrack", string.Join('\n', entries));
    }

    /// <summary>Listens to conntrack events from now on.</summary>
    public ConntrackEventSocket ListenToConntrack() => Own(new ConntrackEventSocket(Namespace));

    /// <summary>
    /// The node's one thing of a type, made at the first call and disposed with the node. Other projects add abilities to a node by it.
    /// </summary>
    public T Part<T>(Func<Node, T> make) where T : class, IAsyncDisposable
    {
        lock (_lock)
        {
            if (_parts.TryGetValue(typeof(T), out var part))
                return (T)part;
            var made = make(this);
            _parts[typeof(T)] = made;
            _owned.Add(made);
            return made;
        }
    }

    internal void Start()
    {
        Route.SetLink("lo");
        foreach (var address in Spec.Loopback)
            Route.AddAddress("lo", address, address.GetAddressBytes().Length * 8);
        foreach (var end in Spec.Interfaces)
        {
            Route.SetLink(end.Device);
            foreach (var (address, prefixLength) in end.Prefixes)
                Route.AddAddress(end.Device, address, prefixLength);
            // A router asks for neighbours with its link-local address (ndisc_send_ns); none is made by itself here.
            if (end.Address6 is not null)
                Route.AddAddress(end.Device, end.LinkLocal, 64);
            if (end.IsUnnumbered)
                StartUnnumbered(end);
        }
        foreach (var gateway in new[] { Spec.Gateway, Spec.Gateway6 }.OfType<IPAddress>())
        {
            var all = new IPNetwork(gateway.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? IPAddress.Any
                : IPAddress.IPv6Any, 0);
            if (Spec.Interfaces.Any(i => i.Prefixes.Any(p => new IPNetwork(p.Address, p.PrefixLength).Contains(gateway))))
                Route.AddRoute(all, gateway);
            else
                Route.AddRoute(all, gateway, Spec.Interfaces[0].Device); // a neighbour all the same, without an address there
        }
        foreach (var (destination, gateway) in Spec.Routes)
            Route.AddRoute(destination, gateway, Spec.Interfaces.First(i => i.Network.Subnet.Contains(gateway)
                || i.Network.Subnet6?.Contains(gateway) == true).Device);
        foreach (var served in Spec.Image is null ? Spec.Serves : [])
            Serve(served.Protocol, served.Port);
    }

    /// <summary>Starts the node's container, and waits until it listens on the ports that it is to serve.</summary>
    /// <exception cref="HarnessException">It cannot be started, has ended, or does not listen.</exception>
    internal async Task StartContainerAsync(ImageSpec image)
    {
        var said = new CappedText();
        Container = Own(await NodeImage.StartAsync(this, image, said.Append));
        using var limit = new Patience(Timeouts.Start);
        while (Spec.Serves.FirstOrDefault(s => !Listens(s)) is { } missing)
        {
            if (Container.HasEnded || limit.Token.IsCancellationRequested)
            {
                throw new HarnessException($"The container of {Name} does not serve {missing}.",
                    $"It {(Container.HasEnded ? "has ended" : "runs")}, and said: {said.Tail(20)}", "The lab was not built.",
                    "See that its command stays in the foreground and listens there, or correct 'serves'.");
            }
            await Task.Delay(TimeSpan.FromMilliseconds(50));
        }
    }

    private bool Listens(ServedPort served) => served.Protocol switch
    {
        TransportProtocol.Tcp => ListeningSockets.Tcp(Namespace).Contains(served.Port),
        TransportProtocol.Udp => ListeningSockets.Udp(Namespace).Contains(served.Port),
        _ => true, // the kernel lists no sockets of SCTP by namespace
    };

    /// <summary>
    /// A link without addresses: the network is behind it, and neighbours that ask for the borrowed addresses are answered.
    /// </summary>
    private void StartUnnumbered(Interface end)
    {
        Route.AddRoute(end.Network.Subnet, end.Device);
        if (end.Network.Subnet6 is not { } subnet6)
            return;
        Route.AddRoute(subnet6, end.Device);
        // ARP answers for every address of the node, neighbour discovery only for those of the link (ndisc_recv_ns).
        Sysctl.Write(Namespace, $"net.ipv6.conf.{end.Device}.proxy_ndp", "1");
        Route.AddProxy(end.Device, end.Address6!);
    }

    internal void CaptureAll()
    {
        foreach (var end in Spec.Interfaces)
            Lab.Wire.Add(new Capture(Name, Namespace, end.Device));
        foreach (var overlay in Lab.Topology.Overlays.Where(o => o.Joins.Any(n => n.Host == Name)))
        {
            foreach (var ipv6 in overlay.Over.Subnet6 is null ? new[] { false } : [false, true])
                Lab.Wire.Add(new Capture(Name, Namespace, overlay.DeviceFor(ipv6)));
        }
    }

    /// <summary>Ends what works in the node. Its namespace is the lab's to let go.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var owned in _owned)
            await owned.DisposeAsync();
        _owned.Clear();
        Route.Dispose();
    }

    /// <summary>Makes the node the owner of a thing, which it disposes with itself.</summary>
    public T Own<T>(T thing) where T : IAsyncDisposable
    {
        lock (_lock)
            _owned.Add(thing);
        return thing;
    }

    private IpvsTable ReadIpvsTable() => Linux.Ipvs.IpvsTable.Read(Namespace) ?? new IpvsTable("", []);

    private T Observed<T>(string title, T value)
    {
        Lab.Observe(this, title, value?.ToString() ?? "");
        return value;
    }

    private IReadOnlyList<T> ObservedLines<T>(string title, IReadOnlyList<T> values)
    {
        Lab.Observe(this, title, string.Join('\n', values));
        return values;
    }

    private static (IPAddress Address, int Length) ParsePrefix(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash > 0 && IPAddress.TryParse(text.AsSpan(0, slash), out var address)
            && int.TryParse(text.AsSpan(slash + 1), System.Globalization.CultureInfo.InvariantCulture, out var length)
            && length >= 0 && length <= address.GetAddressBytes().Length * 8)
        {
            return (address, length);
        }
        throw new HarnessException($"'{text}' is not an address with a prefix length.", "No ADDRESS/LENGTH.", "Nothing was changed.",
            "Write for instance 10.10.0.1/24.");
    }
}
