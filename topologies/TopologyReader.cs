using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Conformance.Linux;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace Conformance.Topologies;

/// <summary>Turns a YAML document into a <see cref="Topology"/>; every error names file, line and column.</summary>
internal sealed partial class TopologyReader
{
    private const int MaxDeviceLength = 15; // IFNAMSIZ - 1
    internal const int MaxLength = 256 * 1024;
    private const int MaxDepth = 16;
    private static readonly string[] s_topKeys = ["name", "networks", "overlays", "images", "nodes"];
    private static readonly string[] s_networkKeys = ["subnet", "subnet6", "device", "on", "bridge", "mtu"];
    private static readonly string[] s_overlayKeys = ["vni", "port", "over", "joins", "masquerade"];
    private static readonly string[] s_imageKeys = ["program", "from", "command", "files"];
    private static readonly string[] s_nodeKeys = ["forwarding", "gateway", "serves", "loopback", "routes", "image", "tunnels"];
    private const string Unnumbered = "unnumbered";

    private readonly string _file;
    private readonly Dictionary<IPAddress, string> _owners = [];
    private readonly Dictionary<string, Mark> _hosts = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Mark> _gateways = new(StringComparer.Ordinal);
    private readonly List<(string Node, IPAddress Gateway, Mark Mark)> _routes = [];
    private readonly Dictionary<string, ImageSpec> _images = new(StringComparer.Ordinal);

    private TopologyReader(string file) => _file = file;

    internal static Topology Read(string file, string text)
    {
        var reader = new TopologyReader(file);
        reader.CheckSyntax(text);
        var stream = new YamlStream();
        try
        {
            stream.Load(new StringReader(text));
        }
        catch (YamlException e)
        {
            // a key twice
            throw reader.Wrong(e.Start, "The document is not YAML.", e.InnerException?.Message ?? e.Message, "Correct this place.");
        }
        catch (ArgumentException e)
        {
            // YamlDotNet has no word of its own for some documents, such as one that ends where a value must be
            throw reader.Wrong(Mark.Empty, "The document is not YAML.", e.Message, "Check the document with a YAML tool.");
        }
        if (stream.Documents.Count != 1)
            throw reader.Wrong(Mark.Empty, "A topology is one YAML document.", $"The file has {stream.Documents.Count}.",
                "Write one document.");
        return reader.ReadTopology(stream.Documents[0].RootNode);
    }

    /// <summary>
    /// Reads the document as events, before the representation model reads it: that one calls itself for every level and
    /// would overflow the stack, and it follows aliases in circles.
    /// </summary>
    private void CheckSyntax(string text)
    {
        if (text.Length > MaxLength)
            throw Wrong(Mark.Empty, "The document is too long.",
                string.Create(CultureInfo.InvariantCulture, $"It has more than {MaxLength} characters."), "Describe fewer nodes.");
        var last = new Mark(0, 1, 1);
        var open = new Stack<Mark>();
        try
        {
            for (var parser = new Parser(new StringReader(text)); parser.MoveNext(); last = parser.Current!.End)
            {
                var at = parser.Current!;
                if (at is AnchorAlias or NodeEvent { Anchor.IsEmpty: false })
                    throw Wrong(at.Start, "A topology has no anchors and aliases.", "An anchor (&name) or alias (*name) stands here.",
                        "Write the value out.");
                if (at is MappingStart or SequenceStart)
                    open.Push(at.Start);
                else if (at is MappingEnd or SequenceEnd)
                    open.Pop();
                if (open.Count > MaxDepth)
                    throw Wrong(at.Start, "The document is nested too deeply.",
                        string.Create(CultureInfo.InvariantCulture, $"This is level {open.Count}; a topology has at most {MaxDepth}."),
                        "Look for brackets or dashes that are not meant.");
            }
        }
        catch (Exception e) when (e is not (TopologyException or OutOfMemoryException))
        {
            // Whatever the parser throws. The scanner says where it gave up, which may be the beginning or the end of the document.
            if (OpenBracket(text) is { } bracket)
                throw Wrong(bracket, "The document is not YAML.", "The bracket or brace that opens here is not closed.", "Close it.");
            throw Wrong(FirstTab(text) ?? (e as YamlException)?.Start ?? last, "The document is not YAML.", e.InnerException?.Message
                ?? e.Message, "Correct the syntax at this place.");
        }
    }

    /// <summary>The place of the last bracket or brace that is not closed, outside quotes and comments.</summary>
    private static Mark? OpenBracket(string text)
    {
        var open = new Stack<Mark>();
        var (line, column, quote) = (1, 0, '\0');
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            column++;
            if (c == '\n')
                (line, column, quote) = (line + 1, 0, '\0');
            else if (quote != '\0')
                quote = c == quote ? '\0' : quote;
            else if (c is '"' or '\'')
                quote = c;
            else if (c == '#' && (i == 0 || char.IsWhiteSpace(text[i - 1])))
                i = text.IndexOf('\n', i) is var end and >= 0 ? end - 1 : text.Length;
            else if (c is '[' or '{')
                open.Push(new Mark(i, line, column));
            else if (c is ']' or '}' && open.Count > 0)
                open.Pop();
        }
        return open.TryPeek(out var mark) ? mark : null;
    }

    /// <summary>The place of the first tab in the indentation of a line, which YAML forbids.</summary>
    private static Mark? FirstTab(string text)
    {
        var lines = text.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            var indent = lines[i].Length - lines[i].TrimStart(' ', '\t').Length;
            if (lines[i].AsSpan(0, indent).IndexOf('\t') is >= 0 and var column)
                return new Mark(0, i + 1, column + 1);
        }
        return null;
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
        if (keys.TryGetValue("images", out var images))
        {
            foreach (var (key, value) in Mapping(images, "images", known: null))
                _images.Add(key, ReadImage(key, value));
        }
        var nodes = new List<NodeSpec>();
        foreach (var (key, value) in Mapping(Required(keys, root, "nodes"), "nodes", known: null))
            nodes.Add(ReadNode(key, value, networks));
        foreach (var network in networks.Where(n => n.Host is not null && nodes.Find(node => node.Name == n.Host) is { } host
            && !host.Interfaces.Any(i => i.Network.Host is null)))
            throw Wrong(_hosts[network.Name], $"The network {network.Name} is a bridge in {network.Host}, which is on no other network.",
                "Its networks are " +
                $"{string.Join(", ", nodes.Find(node => node.Name == network.Host)!.Interfaces.Select(i => i.Network.Name))}, all " +
                    $"inside nodes.", $"Let 'on' name the node that joins {network.Name} with a network of its own, and give that node " +
                    $"an address there.");
        foreach (var network in networks.Where(n => n.Host is not null
            && !nodes.Exists(node => node.Name == n.Host && node.Interfaces.Any(i => i.Network == n))))
            throw Wrong(_hosts[network.Name], $"The network {network.Name} is on {network.Host}, which has no address in it.",
                $"Nodes are: {string.Join(", ", nodes.Select(n => n.Name))}.", $"Give {network.Host} an address: {network.Name}: ...");
        foreach (var node in nodes.Where(n => n.Gateway is not null))
            CheckGateway(node, nodes);
        foreach (var (node, via, mark) in _routes.Where(r => _owners.GetValueOrDefault(r.Gateway) is not { } owner || owner == r.Node))
            throw Wrong(mark, $"{via} cannot be the gateway of a route of {node}.", _owners.ContainsKey(via)
                ? "It is the node's own address." : "No node has this address.", "Name the address of a neighbour.");
        // A node in another node's network has that one as its gateway.
        nodes = [.. nodes.Select(n => n.Gateway is null && n.Interfaces is [{ IsBridge: false, Network.Host: { } host } end]
            ? WithGateway(n, end.Network, nodes.First(h => h.Name == host)) : n)];
        var overlays = new List<Overlay>();
        if (keys.TryGetValue("overlays", out var overlaysNode))
        {
            foreach (var (key, value) in Mapping(overlaysNode, "overlays", known: null))
                overlays.Add(ReadOverlay(key, value, networks));
        }
        return new Topology(name, networks, nodes) { Overlays = overlays };
    }

    /// <summary>A gateway is another node: packets to an address that nobody has, or that is the node's own, get lost.</summary>
    private void CheckGateway(NodeSpec node, List<NodeSpec> nodes)
    {
        var owner = _owners.GetValueOrDefault(node.Gateway!);
        if (owner is not null && owner != node.Name)
            return;
        var others = nodes.Where(n => n != node).SelectMany(n => n.Interfaces)
            .Where(i => node.Interfaces.Any(own => own.Network == i.Network)).Select(i => $"{i.Address} ({_owners[i.Address]})");
        throw Wrong(_gateways[node.Name], $"{node.Gateway} cannot be the gateway of {node.Name}.", owner is null
            ? "No node has this address." : "It is the node's own address.",
            $"Name the address of a neighbour: {string.Join(", ", others)}.");
    }

    private static NodeSpec WithGateway(NodeSpec node, Network network, NodeSpec host)
    {
        var bridge = host.Interfaces.First(i => i.Network == network);
        return node with
        {
            Gateway = bridge.Address,
            Gateway6 = bridge.Address6 is null ? null : bridge.IsUnnumbered ? bridge.LinkLocal
            : bridge.Address6
        };
    }

    private Overlay ReadOverlay(string name, YamlNode node, List<Network> networks)
    {
        var keys = Mapping(node, $"the overlay {name}", s_overlayKeys);
        if (Required(keys, node, "joins") is not YamlSequenceNode joins)
            throw Wrong(node.Start, $"joins of {name} is not a list.", $"'{keys["joins"]}'",
                "Write the names of networks inside nodes, such as [pods1, pods2].");
        var joined = joins.Children.Select(j => Known(j)).ToList();
        if (joined.Find(n => n.Host is null) is { } outside)
            throw Wrong(joins.Start, $"The overlay {name} joins {outside.Name}, which is no network inside a node.", "It has no 'on'.",
                "Join networks that have one.");
        return new Overlay(name, (uint)Number(Required(keys, node, "vni"), 1, (1 << 24) - 1),
            (ushort)Number(Required(keys, node, "port"), 1, ushort.MaxValue), Known(Required(keys, node, "over")), joined)
        {
            Masquerade = keys.TryGetValue("masquerade", out var masquerade) ? ReadSubnet(name, masquerade) : null,
        };

        Network Known(YamlNode at) => networks.Find(n => n.Name == Scalar(at))
            ?? throw Wrong(at.Start, $"There is no network '{Scalar(at)}'.",
                $"Networks are: {string.Join(", ", networks.Select(n => n.Name))}." +
                $"{Nearest.Hint(Scalar(at), networks.Select(n => n.Name))}", "Name one of them.");
    }

    private Network ReadNetwork(string name, YamlNode node)
    {
        if (s_nodeKeys.Contains(name, StringComparer.Ordinal))
            throw Wrong(node.Start, $"A network cannot be called '{name}'.", "The word is a key of nodes.", "Choose another name.");
        var keys = Mapping(node, $"the network {name}", s_networkKeys);
        var host = keys.TryGetValue("on", out var hostNode) ? Scalar(hostNode) : null;
        if (hostNode is not null)
            _hosts[name] = hostNode.Start;
        if (host is null && keys.TryGetValue("bridge", out var stray))
            throw Wrong(stray.Start, $"The network {name} has a bridge but no node that it is in.",
                "A switch by itself has no name of its own.", "Add 'on: NODE', or delete 'bridge'.");
        return new Network(name, ReadSubnet(name, Required(keys, node, "subnet")), ReadDevice(Required(keys, node, "device")))
        {
            Subnet6 = keys.TryGetValue("subnet6", out var subnet6) ? ReadSubnet(name, subnet6) : null,
            Mtu = keys.TryGetValue("mtu", out var mtu) ? (uint)Number(mtu, 576, 65535) : 1500,
            Host = host,
            Bridge = host is null ? "" : ReadDevice(Required(keys, node, "bridge")),
        };
    }

    private IPNetwork ReadSubnet(string name, YamlNode node)
    {
        var text = Scalar(node);
        return IPNetwork.TryParse(text, out var subnet) && subnet.ToString() == text
            ? subnet
            : throw Wrong(node.Start, $"The subnet of {name} is not a network.", $"'{text}'",
                "Write network address and prefix length, such as 192.168.113.0/24, with the host bits zero.");
    }

    private string ReadDevice(YamlNode node)
    {
        var device = Scalar(node);
        return DevicePattern().IsMatch(device) && device != "lo"
            ? device
            : throw Wrong(node.Start, $"'{device}' cannot be an interface's name.",
                $"A name has 1 to {MaxDeviceLength} letters, digits, '.', '_' and '-', begins with a letter or digit, and is not lo.",
                "Choose such a name, for example eth0.");
    }

    private int Number(YamlNode node, int min, int max) =>
        int.TryParse(Scalar(node), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= min && number <= max
            ? number
            : throw Wrong(node.Start, $"'{Scalar(node)}' is no number that fits here.",
                string.Create(CultureInfo.InvariantCulture, $"It goes from {min} to {max}."), "Write such a number.");

    private NodeSpec ReadNode(string name, YamlNode node, List<Network> networks)
    {
        var keys = Mapping(node, $"the node {name}", [.. s_nodeKeys, .. networks.Select(n => n.Name)]);
        var interfaces = new List<Interface>();
        var loopback = ReadLoopback(name, keys);
        // Those that borrow an address come after those that have one.
        foreach (var network in networks.Where(n => keys.ContainsKey(n.Name)).OrderBy(n => IsUnnumbered(keys[n.Name])))
        {
            var end = IsUnnumbered(keys[network.Name]) ? Borrow(name, keys[network.Name], network, loopback, interfaces)
                : ReadInterface(name, keys[network.Name], network);
            if (interfaces.FirstOrDefault(i => i.Device == end.Device) is { } twin)
                throw Wrong(keys[network.Name].Start, $"{name} would have two interfaces called {end.Device}.",
                    $"On {twin.Network.Name} and on {network.Name}.", "Give the networks different devices.");
            interfaces.Add(end);
        }
        if (interfaces.Count == 0)
            throw Wrong(node.Start, $"The node {name} is on no network.",
                $"Networks are: {string.Join(", ", networks.Select(n => n.Name))}.", "Give it an address in one of them.");

        IPAddress? gateway = null;
        if (keys.TryGetValue("gateway", out var gatewayNode))
        {
            gateway = Address(gatewayNode, $"the gateway of {name}");
            _gateways[name] = gatewayNode.Start;
            if (!interfaces.Any(i => i.Network.Subnet.Contains(gateway)))
            {
                throw Wrong(gatewayNode.Start, $"{name} cannot reach its gateway {gateway}.",
                    $"Its networks are {string.Join(", ", interfaces.Select(i => i.Network.Subnet))}.", "Name an address in one of them.");
            }
        }
        interfaces = [.. interfaces.OrderBy(i => networks.IndexOf(i.Network))];
        return new NodeSpec(name, interfaces, ReadFlag(keys, "forwarding", name), gateway, ReadServes(name, keys))
        {
            Loopback = loopback,
            Routes = ReadRoutes(name, keys, interfaces),
            Tunnels = ReadFlag(keys, "tunnels", name),
            Image = !keys.TryGetValue("image", out var image) ? null : _images.TryGetValue(Scalar(image), out var named) ? named
            : new ImageSpec(PathOf(Scalar(image)), IsProgram: false, [], new Dictionary<string, string>(StringComparer.Ordinal))
        };
    }

    private ImageSpec ReadImage(string name, YamlNode node)
    {
        var keys = Mapping(node, $"the image {name}", s_imageKeys);
        var isProgram = keys.TryGetValue("program", out var program);
        if (isProgram == keys.ContainsKey("from"))
            throw Wrong(node.Start, $"The image {name} has {(isProgram ? "two sources" : "no source")}.",
                $"Its keys are {string.Join(", ", keys.Keys)}.",
                "Write program: NAME for a program of this machine, or from: NAME|ARCHIVE for an image.");
        var command = new List<string>();
        if (keys.TryGetValue("command", out var words))
        {
            if (words is not YamlSequenceNode list)
                throw Wrong(words.Start, $"command of {name} is not a list.", $"'{words}'", "Write [nginx, -c, /etc/nginx.conf].");
            command.AddRange(list.Children.Select(Scalar));
        }
        var files = new Dictionary<string, string>(StringComparer.Ordinal);
        if (keys.TryGetValue("files", out var given))
        {
            if (given is not YamlMappingNode mapping)
                throw Wrong(given.Start, $"files of {name} is not a mapping.", $"'{given}'", "Write PATH: TEXT pairs.");
            foreach (var (path, text) in mapping.Children)
            {
                if (!Scalar(path).StartsWith('/') || Scalar(path).EndsWith('/'))
                    throw Wrong(path.Start, $"'{Scalar(path)}' cannot be a file of {name}.", "It is no absolute path of a file.",
                        "Write for instance /etc/nginx.conf.");
                files.Add(Scalar(path), Scalar(text));
            }
        }
        if (isProgram && command.Count == 0)
            throw Wrong(node.Start, $"The image {name} has no command.", "An image of a program knows none.",
                $"Add command: [{Scalar(program!)}, ...].");
        return new ImageSpec(isProgram ? Scalar(program!) : PathOf(Scalar(keys["from"])), isProgram, command, files);
    }

    /// <summary>A path in a topology is meant from the file's folder; what is no path there is an image's name.</summary>
    private string PathOf(string source) =>
        Path.Combine(Path.GetDirectoryName(Path.GetFullPath(_file))!, source) is var path && File.Exists(path) ? path : source;

    private static bool IsUnnumbered(YamlNode node) => node is YamlScalarNode { Value: Unnumbered };

    /// <summary>The addresses of the loopback device: one, or one of each family.</summary>
    private List<IPAddress> ReadLoopback(string name, Dictionary<string, YamlNode> keys)
    {
        if (!keys.TryGetValue("loopback", out var node))
            return [];
        var addresses = new List<IPAddress>();
        foreach (var item in node is YamlSequenceNode list ? list.Children : [node])
        {
            var address = Address(item, $"the loopback address of {name}");
            if (IPAddress.IsLoopback(address) || address.IsIPv6LinkLocal || address.IsIPv6Multicast || address.Equals(IPAddress.IPv6Any)
                || (address.GetAddressBytes() is [0 or >= 224, _, _, _]))
                throw Wrong(item.Start, $"{address} cannot be the loopback address of {name}.", "It is none that others can reach.",
                    "Write an address that the other nodes use for it.");
            if (addresses.Exists(a => a.AddressFamily == address.AddressFamily))
                throw Wrong(item.Start, $"{name} has two loopback addresses of one family.", string.Join(", ", [.. addresses, address]),
                    "Write one address, or one of IPv4 and one of IPv6.");
            if (!_owners.TryAdd(address, name))
                throw Wrong(item.Start, $"{name} and {_owners[address]} have the same address {address}.",
                    "An address belongs to one node.", "Give one of them another address.");
            addresses.Add(address);
        }
        return addresses.Exists(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork)
            ? [.. addresses.OrderBy(a => a.AddressFamily)]
            : throw Wrong(node.Start, $"{name} has no loopback address of IPv4.", string.Join(", ", addresses), "Add one.");
    }

    private Interface Borrow(string name, YamlNode node, Network network, List<IPAddress> loopback, List<Interface> numbered)
    {
        var lender = numbered.Find(i => !i.IsUnnumbered);
        var addresses = loopback.Count > 0 ? loopback : lender?.Addresses.ToList()
            ?? throw Wrong(node.Start, $"The interface of {name} on {network.Name} has no address to borrow.",
                "The node has neither a loopback address nor an interface with one.", "Add loopback: ADDRESS to the node.");
        if (network.Subnet6 is not null && addresses.Count == 1)
            throw Wrong(node.Start, $"The interface of {name} on {network.Name} has no IPv6 address to borrow.",
                $"The node has {addresses[0]} alone.", "Add one of IPv6.");
        if (network.Host != name && addresses.Take(network.Subnet6 is null ? 1 : 2)
            .FirstOrDefault(a => !network.Subnet.Contains(a) && network.Subnet6?.Contains(a) != true) is { } outside)
            throw Wrong(node.Start, $"The interface of {name} on {network.Name} would borrow {outside}, which is outside the network.",
                $"The subnet is {network.Subnet}: its neighbours would look for it elsewhere.",
                "Give the node a loopback address inside the subnet.");
        return new Interface(network, addresses[0], network.Subnet6 is null ? null : addresses[1],
            network.Host == name)
        { IsUnnumbered = true };
    }

    private List<(IPNetwork Destination, IPAddress Gateway)> ReadRoutes(string name, Dictionary<string, YamlNode> keys,
        List<Interface> interfaces)
    {
        if (!keys.TryGetValue("routes", out var node))
            return [];
        if (node is not YamlMappingNode mapping)
            throw Wrong(node.Start, $"routes of {name} is not a mapping.", $"'{node}'",
                "Write NETWORK: GATEWAY pairs, such as 10.244.1.0/24: 192.168.113.103.");
        var routes = new List<(IPNetwork, IPAddress)>();
        foreach (var (key, value) in mapping.Children)
        {
            var (destination, gateway) = (ReadSubnet($"a route of {name}", key), Address(value, $"the gateway of a route of {name}"));
            if (destination.BaseAddress.AddressFamily != gateway.AddressFamily)
                throw Wrong(value.Start, $"{gateway} cannot lead to {destination}.", "They are of two families.",
                    "Name a gateway of the same family.");
            if (!interfaces.Exists(i => i.Network.Subnet.Contains(gateway) || i.Network.Subnet6?.Contains(gateway) == true))
                throw Wrong(value.Start, $"{name} cannot reach its gateway {gateway}.",
                    $"Its networks are {string.Join(", ", interfaces.Select(i => i.Network.Subnet))}.", "Name an address in one of them.");
            if (routes.Exists(r => r.Item1.Equals(destination))
                || interfaces.Exists(i => i.Network.Subnet.Equals(destination) || i.Network.Subnet6?.Equals(destination) == true))
                throw Wrong(key.Start, $"{name} has a route to {destination} already.", "It is on that network, or names it twice.",
                    "Delete the route.");
            _routes.Add((name, gateway, value.Start));
            routes.Add((destination, gateway));
        }
        return routes;
    }

    /// <summary>One address, or two where the network has two subnets.</summary>
    private Interface ReadInterface(string nodeName, YamlNode node, Network network)
    {
        var isBridge = network.Host == nodeName;
        if (node is not YamlSequenceNode both)
            return new Interface(network, ReadAddress(nodeName, node, network, network.Subnet), null, isBridge);
        if (both.Children.Count != 2 || network.Subnet6 is not { } subnet6)
            throw Wrong(node.Start, $"{nodeName} has a list of addresses in {network.Name}.", network.Subnet6 is null
                ? "The network has one subnet." : $"It has {both.Children.Count}.", "Write one address, or two in a network with subnet6.");
        return new Interface(network, ReadAddress(nodeName, both.Children[0], network, network.Subnet),
            ReadAddress(nodeName, both.Children[1], network, subnet6), isBridge);
    }

    private IPAddress ReadAddress(string nodeName, YamlNode node, Network network, IPNetwork subnet)
    {
        var address = Address(node, $"the address of {nodeName} in {network.Name}");
        if (!subnet.Contains(address))
            throw Wrong(node.Start, $"{address} is outside the network {network.Name}.", $"Its subnet is {subnet}.",
                "Give the node an address inside the subnet.");
        if (NotOfAHost(address, subnet) is { } kind)
            throw Wrong(node.Start, $"{address} cannot be the address of {nodeName}.", $"It is the {kind} address of {subnet}.",
                "Give the node another address inside the subnet.");
        if (_owners.TryGetValue(address, out var owner))
            throw Wrong(node.Start, $"{nodeName} and {owner} have the same address {address}.", "An address belongs to one node.",
                "Give one of them another address.");
        _owners[address] = nodeName;
        return address;
    }

    /// <summary>
    /// The name of an address that no host can have: the first of an IPv4 subnet is its network, the last its broadcast address (RFC 3021
    /// excepts /31).
    /// </summary>
    private static string? NotOfAHost(IPAddress address, IPNetwork subnet)
    {
        if (address.AddressFamily != System.Net.Sockets.AddressFamily.InterNetwork || subnet.PrefixLength > 30)
            return null;
        if (address.Equals(subnet.BaseAddress))
            return "network";
        var hostBits = uint.MaxValue >> subnet.PrefixLength;
        var host = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes()) & hostBits;
        return host == hostBits ? "broadcast" : null;
    }

    /// <summary>True or false; false when the key is absent.</summary>
    private bool ReadFlag(Dictionary<string, YamlNode> keys, string key, string owner)
    {
        if (!keys.TryGetValue(key, out var node))
            return false;
        return Scalar(node) switch
        {
            "true" => true,
            "false" => false,
            var other => throw Wrong(node.Start, $"{key} of {owner} is '{other}'.", "It is true or false.", "Write one of the two."),
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
            if (!match.Success || !ushort.TryParse(match.Groups["port"].Value, NumberStyles.None, CultureInfo.InvariantCulture,
                out var port) || port == 0)
                throw Wrong(item.Start, $"{name} cannot serve '{item}'.",
                    "A served port is tcp/PORT, udp/PORT or sctp/PORT, PORT from 1 to 65535.", "Write for instance tcp/8080.");
            var served = new ServedPort(Enum.Parse<TransportProtocol>(match.Groups["protocol"].ValueSpan, ignoreCase: true), port);
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
        keys.TryGetValue(key, out var node) ? node : throw Wrong(parent.Start, $"The key '{key}' is missing.",
            $"Present are: {string.Join(", ", keys.Keys)}.", $"Add '{key}'.");

    private string Scalar(YamlNode node) =>
        node is YamlScalarNode { Value: { } value } ? value
            : throw Wrong(node.Start, "A single value is wanted here.", $"'{node}'", "Write one word or number.");

    private string Word(YamlNode node, string what)
    {
        var text = Scalar(node);
        return NamePattern().IsMatch(text)
            ? text
            : throw Wrong(node.Start, $"'{text}' cannot be {what}.",
                "Names have lower-case letters, digits and '-', begin with a letter, and are at most 31 characters long.",
                "Choose another name.");
    }

    private TopologyException Wrong(Mark mark, string what, string evidence, string fix) =>
        new($"{_file}:{mark.Line}:{mark.Column}: {what}", evidence, "Nothing was built.", fix);

    [GeneratedRegex("^[a-z][a-z0-9-]{0,30}$", RegexOptions.None, 1000)]
    private static partial Regex NamePattern();

    /// <summary>Names that the kernel takes (dev_valid_name in net/core/dev.c) and no tool mistakes for an option or a path.</summary>
    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$", RegexOptions.None, 1000)]
    private static partial Regex DevicePattern();

    [GeneratedRegex("^(?<protocol>tcp|udp|sctp)/(?<port>[0-9]{1,5})$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex PortPattern();
}
