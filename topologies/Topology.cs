using System.Net;
using Conformance.Linux;

namespace Conformance.Topologies;

/// <summary>
/// A switch: what its subnet is and what the interface on it is called in every node. It stands by itself, or it is a
/// bridge inside a node, as the network of a Kubernetes node's pods is.
/// </summary>
public sealed record Network(string Name, IPNetwork Subnet, string Device)
{
    /// <summary>The subnet in the other family, where the network has two.</summary>
    public IPNetwork? Subnet6 { get; init; }

    public uint Mtu { get; init; } = 1500;

    /// <summary>The node that the bridge is in; null for a switch by itself.</summary>
    public string? Host { get; init; }

    /// <summary>What the bridge is called in its node.</summary>
    public string Bridge { get; init; } = "";
}

/// <summary>One end of a link: a node's interface on a network, with its addresses.</summary>
/// <param name="IsBridge">Whether it is the bridge itself, in the node that the network is in.</param>
public sealed record Interface(Network Network, IPAddress Address, IPAddress? Address6 = null, bool IsBridge = false)
{
    /// <summary>
    /// Whether the interface has no address of its own: those here are borrowed of the node's loopback or of its first other interface.
    /// </summary>
    public bool IsUnnumbered { get; init; }

    /// <summary>The link-local address of an interface with IPv6; it shows the (IPv4) address.</summary>
    public IPAddress LinkLocal => new([0xfe, 0x80, .. new byte[10], .. Address.GetAddressBytes()]);

    public string Device => IsBridge ? Network.Bridge : Network.Device;

    public IEnumerable<IPAddress> Addresses => Address6 is null ? [Address] : [Address, Address6];

    /// <summary>The addresses with the length of their subnet's prefix.</summary>
    public IEnumerable<(IPAddress Address, int PrefixLength)> Prefixes =>
        IsUnnumbered ? [] : Address6 is null ? [(Address, Network.Subnet.PrefixLength)]
            : [(Address, Network.Subnet.PrefixLength), (Address6, Network.Subnet6!.Value.PrefixLength)];
}

/// <summary>
/// A VXLAN that joins networks inside nodes, the way flannel builds it: one device for each family, entries for the
/// other nodes set and none learnt.
/// </summary>
/// <param name="Over">The network that carries it.</param>
public sealed record Overlay(string Name, uint Vni, ushort Port, Network Over, IReadOnlyList<Network> Joins)
{
    /// <summary>The network of all pods, where the nodes have flannel's own rules too (flanneld --ip-masq); null for no rules.</summary>
    public IPNetwork? Masquerade { get; init; }

    /// <summary>The device, such as flannel.1; that of IPv6 is flannel-v6.1.</summary>
    public string DeviceFor(bool ipv6) => string.Create(System.Globalization.CultureInfo.InvariantCulture,
        $"{Name}{(ipv6 ? "-v6" : "")}.{Vni}");
}

/// <summary>A port on which a node's server answers from the start.</summary>
public sealed record ServedPort(TransportProtocol Protocol, int Port)
{
    public override string ToString() => $"{Protocol.ToString().ToLowerInvariant()}/{Port}";
}

/// <summary>A host of the lab.</summary>
public sealed record NodeSpec(
    string Name, IReadOnlyList<Interface> Interfaces, bool Forwarding, IPAddress? Gateway, IReadOnlyList<ServedPort> Serves)
{
    /// <summary>The gateway in the other family.</summary>
    public IPAddress? Gateway6 { get; init; }

    /// <summary>Addresses on the loopback device, which unnumbered interfaces borrow.</summary>
    public IReadOnlyList<IPAddress> Loopback { get; init; } = [];

    /// <summary>Networks behind other nodes, with the address of the next node.</summary>
    public IReadOnlyList<(IPNetwork Destination, IPAddress Gateway)> Routes { get; init; } = [];

    /// <summary>What runs in the node as a container; null where the harness serves.</summary>
    public ImageSpec? Image { get; init; }

    /// <summary>
    /// Whether the node needs the tunnel devices that a kernel gives each new namespace: tunl0, ip6tnl0, sit0, gre0 and others.
    /// </summary>
    public bool Tunnels { get; init; }
}

/// <summary>What a node's container is made of.</summary>
/// <param name="Source">An image: the path of an archive, or a name in this machine's engine. Of a program its name.</param>
/// <param name="IsProgram">Whether the image is made of a program of this machine and the libraries that it needs.</param>
/// <param name="Command">What it runs; empty for the image's own command.</param>
/// <param name="Files">Files that the container sees: path and text.</param>
public sealed record ImageSpec(string Source, bool IsProgram, IReadOnlyList<string> Command, IReadOnlyDictionary<string, string> Files);

/// <summary>The description of a lab; see <c>topology.schema.json</c> for its YAML form.</summary>
public sealed record Topology(string Name, IReadOnlyList<Network> Networks, IReadOnlyList<NodeSpec> Nodes)
{
    public IReadOnlyList<Overlay> Overlays { get; init; } = [];

    /// <summary>The folder with the topologies that come with the project.</summary>
    public static string Folder => Path.Combine(AppContext.BaseDirectory, "topologies");

    /// <summary>Loads a topology by name, or a file by its path (which ends in .yaml).</summary>
    /// <exception cref="TopologyException">No such topology, or the document is wrong.</exception>
    public static Topology Load(string nameOrPath)
    {
        if (nameOrPath.EndsWith(".yaml", StringComparison.Ordinal))
            return TopologyReader.Read(nameOrPath, ReadFile(nameOrPath));
        var path = Path.Combine(Folder, nameOrPath + ".yaml");
        if (!File.Exists(path))
        {
            throw new TopologyException(
                $"There is no topology '{nameOrPath}'.",
                $"Known are: {string.Join(", ", Names())}.{Nearest.Hint(nameOrPath, Names())}",
                "Nothing was built.",
                "Name one of them, or give the path of a .yaml file.");
        }
        return TopologyReader.Read(path, ReadFile(path));
    }

    public static IReadOnlyList<string> Names() =>
        [.. Directory.GetFiles(Folder, "*.yaml").Select(Path.GetFileNameWithoutExtension).Order(StringComparer.Ordinal)!];

    private static string ReadFile(string path)
    {
        try
        {
            // A huge or endless file is refused by its length, without reading all of it.
            using var reader = new StreamReader(path);
            var text = new char[TopologyReader.MaxLength + 1];
            return new string(text, 0, reader.ReadBlock(text));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TopologyException($"Cannot read the topology {path}.", e.Message, "Nothing was built.",
                "Give the path of a readable .yaml file.");
        }
    }
}

/// <summary>A topology that cannot be used: what, evidence, consequence, fix.</summary>
public sealed class TopologyException(string what, string evidence, string consequence, string fix)
    : FourPartException(what, evidence, consequence, fix);
