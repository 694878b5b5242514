using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Conformance.Topologies;

/// <summary>Turns a YAML document into a <see cref="Topology"/>; every error names file, line and column.</summary>
internal sealed partial class TopologyReader
{
    private const int MaxDeviceLength = 15; // IFNAMSIZ - 1
    private static readonly string[] s_topKeys = ["name", "networks", "nodes"];
    private static readonly string[] s_networkKeys = ["subnet", "device"];
    private static readonly string[] s_nodeKeys = ["forwarding", "gateway", "serves"];

    private readonly string _file;
    private readonly Dictionary<IPAddress, string> _owners = [];

    private TopologyReader(string file) => _file = file;

    internal static Topology Read(string file, string text)
    {
        var reader = new TopologyReader(file);
        var stream = new YamlStream();
        try
        {
            stream.Load(new StringReader(text));
        }
        catch (YamlException e)
        {
            throw reader.Wrong(e.Start, "The document is not YAML.", e.InnerException?.Message ?? e.Message, "Mend the syntax at this place.");
        }
        catch (InvalidOperationException e)
        {
            // What the scanner throws at some unclosed brackets; it does not say where.
            throw reader.Wrong(Mark.Empty, "The document is not YAML.", e.Message, "Look for a bracket or brace that is not closed.");
        }
        if (stream.Documents.Count != 1)
            throw reader.Wrong(Mark.Empty, "A topology is one YAML document.", $"The file has {stream.Documents.Count}.", "Write one document.");
        return reader.ReadTopology(stream.Documents[0].RootNode);
    }

    private Topology ReadTopology(YamlNode root)
    {
        var keys = Mapping(root, "the topology", s_topKeys);
        var nameNode = Required(keys, root, "name");
        var name = Word(nameNode, "the topology's name");
        var expected = Path.GetFileNameWithoutExtension(_file);
        if (name != expected)
            throw Wrong(nameNode.Start, $"The topology's name is '{name}'.", $"The file is called '{expected}'.", "Let both be the same.");

        var networks = new List<Network>();
        foreach (var (key, value) in Mapping(Required(keys, root, "networks"), "networks", known: null))
            networks.Add(ReadNetwork(key, value));
        var nodes = new List<NodeSpec>();
        foreach (var (key, value) in Mapping(Required(keys, root, "nodes"), "nodes", known: null))
            nodes.Add(ReadNode(key, value, networks));
        return new Topology(name, networks, nodes);
    }

    private Network ReadNetwork(string name, YamlNode node)
    {
        if (s_nodeKeys.Contains(name, StringComparer.Ordinal))
            throw Wrong(node.Start, $"A network cannot be called '{name}'.", "The word is a key of nodes.", "Choose another name.");
        var keys = Mapping(node, $"the network {name}", s_networkKeys);
        var subnetNode = Required(keys, node, "subnet");
        var subnetText = Scalar(subnetNode);
        if (!IPNetwork.TryParse(subnetText, out var subnet) || subnet.ToString() != subnetText)
        {
            throw Wrong(subnetNode.Start, $"The subnet of {name} is not a network.", $"'{subnetText}'",
                "Write network address and prefix length, such as 192.168.113.0/24, with the host bits zero.");
        }
        var deviceNode = Required(keys, node, "device");
        var device = Scalar(deviceNode);
        if (device.Length is 0 or > MaxDeviceLength || device.Any(c => c == '/' || char.IsWhiteSpace(c)))
            throw Wrong(deviceNode.Start, $"'{device}' cannot be an interface's name.", "The kernel takes 1 to 15 characters without '/' and spaces.", "Choose a shorter one.");
        return new Network(name, subnet, device);
    }

    private NodeSpec ReadNode(string name, YamlNode node, List<Network> networks)
    {
        var keys = Mapping(node, $"the node {name}", [.. s_nodeKeys, .. networks.Select(n => n.Name)]);
        var interfaces = new List<Interface>();
        foreach (var network in networks.Where(n => keys.ContainsKey(n.Name)))
        {
            if (interfaces.FirstOrDefault(i => i.Device == network.Device) is { } twin)
                throw Wrong(keys[network.Name].Start, $"{name} would have two interfaces called {network.Device}.", $"On {twin.Network.Name} and on {network.Name}.", "Give the networks different devices.");
            interfaces.Add(new Interface(network, ReadAddress(name, keys[network.Name], network)));
        }
        if (interfaces.Count == 0)
            throw Wrong(node.Start, $"The node {name} is on no network.", $"Networks are: {string.Join(", ", networks.Select(n => n.Name))}.", "Give it an address in one of them.");

        IPAddress? gateway = null;
        if (keys.TryGetValue("gateway", out var gatewayNode))
        {
            gateway = Address(gatewayNode, $"the gateway of {name}");
            if (!interfaces.Any(i => i.Network.Subnet.Contains(gateway)))
            {
                throw Wrong(gatewayNode.Start, $"{name} cannot reach its gateway {gateway}.",
                    $"Its networks are {string.Join(", ", interfaces.Select(i => i.Network.Subnet))}.", "Name an address in one of them.");
            }
        }
        return new NodeSpec(name, interfaces, ReadForwarding(name, keys), gateway, ReadServes(name, keys));
    }

    private IPAddress ReadAddress(string nodeName, YamlNode node, Network network)
    {
        var address = Address(node, $"the address of {nodeName} in {network.Name}");
        if (!network.Subnet.Contains(address))
            throw Wrong(node.Start, $"{address} is outside the network {network.Name}.", $"Its subnet is {network.Subnet}.", "Give the node an address inside the subnet.");
        if (_owners.TryGetValue(address, out var owner))
            throw Wrong(node.Start, $"{nodeName} and {owner} have the same address {address}.", "An address belongs to one node.", "Give one of them another address.");
        _owners[address] = nodeName;
        return address;
    }

    private bool ReadForwarding(string name, Dictionary<string, YamlNode> keys)
    {
        if (!keys.TryGetValue("forwarding", out var node))
            return false;
        return Scalar(node) switch
        {
            "true" => true,
            "false" => false,
            var other => throw Wrong(node.Start, $"forwarding of {name} is '{other}'.", "It is true or false.", "Write one of the two."),
        };
    }

    private List<ServedPort> ReadServes(string name, Dictionary<string, YamlNode> keys)
    {
        if (!keys.TryGetValue("serves", out var node))
            return [];
        if (node is not YamlSequenceNode sequence)
            throw Wrong(node.Start, $"serves of {name} is not a list.", $"'{node}'", "Write [tcp/8080].");
        var ports = new List<ServedPort>();
        foreach (var item in sequence.Children)
        {
            var match = PortPattern().Match(Scalar(item));
            if (!match.Success || !ushort.TryParse(match.Groups["port"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port == 0)
                throw Wrong(item.Start, $"{name} cannot serve '{item}'.", "A served port is tcp/PORT or udp/PORT, PORT from 1 to 65535.", "Write for instance tcp/8080.");
            var served = new ServedPort(match.Groups["protocol"].Value == "tcp" ? TransportProtocol.Tcp : TransportProtocol.Udp, port);
            if (ports.Contains(served))
                throw Wrong(item.Start, $"{name} serves {served} twice.", "A port has one server.", "Delete one of them.");
            ports.Add(served);
        }
        return ports;
    }

    private IPAddress Address(YamlNode node, string what)
    {
        var text = Scalar(node);
        return IPAddress.TryParse(text, out var address) && address.ToString() == text
            ? address
            : throw Wrong(node.Start, $"{what} is not an IP address.", $"'{text}'", "Write it in full, such as 192.168.113.102.");
    }

    private Dictionary<string, YamlNode> Mapping(YamlNode node, string what, IReadOnlyCollection<string>? known)
    {
        if (node is not YamlMappingNode mapping || mapping.Children.Count == 0)
            throw Wrong(node.Start, $"{what} is not a mapping.", $"'{node}'", "Write 'key: value' pairs.");
        var keys = new Dictionary<string, YamlNode>(StringComparer.Ordinal);
        foreach (var (keyNode, value) in mapping.Children)
        {
            var key = known is null ? Word(keyNode, $"a name in {what}") : Scalar(keyNode);
            if (known is not null && !known.Contains(key, StringComparer.Ordinal))
            {
                throw Wrong(keyNode.Start, $"Unknown key '{key}' in {what}.",
                    $"Known are: {string.Join(", ", known)}.{Nearest.Hint(key, known)}", "Correct or delete the key.");
            }
            keys.Add(key, value);
        }
        return keys;
    }

    private YamlNode Required(Dictionary<string, YamlNode> keys, YamlNode parent, string key) =>
        keys.TryGetValue(key, out var node) ? node : throw Wrong(parent.Start, $"The key '{key}' is missing.", $"Present are: {string.Join(", ", keys.Keys)}.", $"Add '{key}'.");

    private string Scalar(YamlNode node) =>
        node is YamlScalarNode { Value: { } value } ? value : throw Wrong(node.Start, "A single value is wanted here.", $"'{node}'", "Write one word or number.");

    private string Word(YamlNode node, string what)
    {
        var text = Scalar(node);
        return NamePattern().IsMatch(text)
            ? text
            : throw Wrong(node.Start, $"'{text}' cannot be {what}.", "Names have lower-case letters, digits and '-', begin with a letter, and are at most 31 characters long.", "Choose another name.");
    }

    private TopologyException Wrong(Mark mark, string what, string evidence, string fix) =>
        new($"{_file}:{mark.Line}:{mark.Column}: {what}", evidence, "Nothing was built.", fix);

    [GeneratedRegex("^[a-z][a-z0-9-]{0,30}$", RegexOptions.None, 1000)]
    private static partial Regex NamePattern();

    [GeneratedRegex("^(?<protocol>tcp|udp)/(?<port>[0-9]{1,5})$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex PortPattern();
}
