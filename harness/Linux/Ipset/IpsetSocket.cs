using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Ipset;

/// <summary>The types of sets that service proxies use (ipset(8)).</summary>
public enum IpsetType
{
    /// <c>hash:ip</c>: addresses.
    HashIp,

    /// <c>hash:ip,port</c>: address, protocol and port.
    HashIpPort,

    /// <c>hash:ip,port,ip</c>: address, protocol and port, second address.
    HashIpPortIp,

    /// <c>hash:ip,port,net</c>: address, protocol and port, network.
    HashIpPortNet,

    /// <c>bitmap:port</c>: port numbers of both families.
    BitmapPort,
}

/// <summary>An entry of a set; the type decides which parts count.</summary>
/// <param name="Address">Null in a bitmap of ports.</param>
/// <param name="Second">The second address or network of a triple.</param>
/// <param name="SecondPrefix">The length of the second network.</param>
public readonly record struct IpsetEntry(IPAddress? Address, TransportProtocol Protocol, ushort Port, IPAddress? Second = null,
    byte SecondPrefix = 0)
{
    /// <summary>An entry of <c>hash:ip</c>.</summary>
    public static IpsetEntry OfAddress(IPAddress address) => new(address, TransportProtocol.None, 0);

    /// <summary>An entry of <c>bitmap:port</c>.</summary>
    public static IpsetEntry OfPort(ushort port) => new(null, TransportProtocol.None, port);

    /// <summary>The entry as <c>ipset save</c> writes it.</summary>
    public string Format(IpsetType type) => type switch
    {
        IpsetType.BitmapPort => Port.ToString(CultureInfo.InvariantCulture),
        IpsetType.HashIp => Address!.Text(),
        IpsetType.HashIpPort => string.Create(CultureInfo.InvariantCulture, $"{Address!.Text()},{Protocol.Name()}:{Port}"),
        IpsetType.HashIpPortIp => string.Create(CultureInfo.InvariantCulture,
            $"{Address!.Text()},{Protocol.Name()}:{Port},{Second!.Text()}"),
        // A host is listed without its prefix.
        _ => string.Create(CultureInfo.InvariantCulture,
            $"{Address!.Text()},{Protocol.Name()}:{Port},{Second!.Text()}" +
            $"{(SecondPrefix == Second!.GetAddressBytes().Length * 8 ? "" : $"/{SecondPrefix}")}"),
    };
}

/// <summary>
/// A set as the kernel lists it. Type is null when it is not one of <see cref="IpsetType"/>; then the entries are not read.
/// </summary>
public sealed record IpsetInfo(string Name, string TypeName, IpsetType? Type, bool IsIPv6, int References,
    IReadOnlyList<IpsetEntry> Entries);

/// <summary>Sets of one namespace over netlink (linux/netfilter/ipset/ip_set.h), many entries in a message.</summary>
public sealed class IpsetSocket(NetworkNamespace ns) : IDisposable
{
    private const ushort Subsystem = 6 << 8;
    private const ushort CMD_CREATE = 2, CMD_DESTROY = 3, CMD_SWAP = 6, CMD_LIST = 7, CMD_ADD = 9, CMD_DEL = 10, CMD_TYPE = 13;
    private const ushort ATTR_PROTOCOL = 1, ATTR_SETNAME = 2, ATTR_TYPENAME = 3, ATTR_SETNAME2 = 3, ATTR_REVISION = 4, ATTR_FAMILY = 5,
        ATTR_DATA = 7, ATTR_ADT = 8, ATTR_LINENO = 9;
    private const ushort IP = 1, PORT = 4, PORT_TO = 5, PROTO = 7, HASHSIZE = 18, MAXELEM = 19, IP2 = 20, CIDR2 = 21, REFERENCES = 25;
    private const ushort IPADDR_IPV4 = 1, IPADDR_IPV6 = 2;
    private const ushort NESTED = 0x8000, NET_BYTEORDER = 0x4000;
    private const byte ProtocolVersion = 6;
    private const uint HashSize = 1024;

    /// <summary>How many entries a set takes when nothing is said (IPSET_DEFAULT_MAXELEM).</summary>
    public const uint MaxElements = 65536;

    /// <summary>IPSET_ERR_HASH_FULL of linux/netfilter/ipset/ip_set.h: the error number of a set that takes no more entries.</summary>
    public const int SetIsFull = 4352;

    private const int EntriesInMessage = 500; // a nest is at most 64 KiB

    private readonly NetlinkSocket _socket = new(ns, NetlinkProtocol.Netfilter);
    private readonly Dictionary<string, byte> _revisions = new(StringComparer.Ordinal);

    /// <summary>Makes an empty set; one that is there with the same type stays as it is.</summary>
    /// <param name="maxElements">How many entries it takes.</param>
    /// <exception cref="KernelException">A set of the name has another type (EEXIST), or the kernel lacks the type.</exception>
    public void Create(string name, IpsetType type, bool isIPv6, uint maxElements = MaxElements)
    {
        var family = FamilyOf(type, isIPv6);
        var request = Request(CMD_CREATE, family).Attribute(ATTR_SETNAME, name).Attribute(ATTR_TYPENAME, NameOf(type))
            .Attribute(ATTR_REVISION, Revision(type, family)).Attribute(ATTR_FAMILY, family);
        Execute(($"create the set {name}", request.Nest(ATTR_DATA | NESTED, data =>
        {
            if (type == IpsetType.BitmapPort)
                data.BigEndian(PORT | NET_BYTEORDER, (ushort)0).BigEndian(PORT_TO | NET_BYTEORDER, ushort.MaxValue);
            else
                data.BigEndian(HASHSIZE | NET_BYTEORDER, HashSize).BigEndian(MAXELEM | NET_BYTEORDER, maxElements);
        })));
    }

    /// <summary>Destroys a set; one that is not there does not matter.</summary>
    /// <exception cref="KernelException">A rule refers to it.</exception>
    public void Destroy(string name) => Execute(($"destroy the set {name}", Request(CMD_DESTROY).Attribute(ATTR_SETNAME, name)));

    /// <summary>Exchanges the contents of two sets of one type in one step.</summary>
    public void Swap(string name, string other) =>
        Execute(($"swap the sets {name} and {other}", Request(CMD_SWAP).Attribute(ATTR_SETNAME, name).Attribute(ATTR_SETNAME2, other)));

    /// <summary>Adds entries; those that are there stay.</summary>
    /// <returns>How many messages were sent.</returns>
    /// <exception cref="KernelException">The set is full, or does not exist. Entries before may have been added.</exception>
    public int Add(string name, IpsetType type, IEnumerable<IpsetEntry> entries) =>
        Change(CMD_ADD, $"add to the set {name}", name, type, entries);

    /// <summary>Deletes entries; those that are not there do not matter.</summary>
    /// <inheritdoc cref="Add"/>
    public int Delete(string name, IpsetType type, IEnumerable<IpsetEntry> entries) =>
        Change(CMD_DEL, $"delete from the set {name}", name, type, entries);

    /// <summary>Reads what the kernel lists of some sets, byte by byte: the same as long as nobody changes one of them.</summary>
    /// <param name="isMeant">Chooses the sets by their names.</param>
    /// <param name="take">Called with each part of it.</param>
    public void ReadImage(Func<string, bool> isMeant, Action<ReadOnlySpan<byte>> take)
    {
        foreach (var message in Dump(null).Where(m => isMeant(m.Attributes(4).Text(ATTR_SETNAME)!)))
            take(message.Payload.Span);
    }

    /// <summary>Every set of the namespace with its entries, or the one that is named.</summary>
    public IReadOnlyList<IpsetInfo> List(string? name = null)
    {
        var messages = Dump(name);
        var sets = new Dictionary<string, (IpsetInfo Info, List<IpsetEntry> Entries)>(StringComparer.Ordinal);
        foreach (var attributes in messages.Select(m => m.Attributes(4)))
        {
            var setName = attributes.Text(ATTR_SETNAME)!;
            if (!sets.TryGetValue(setName, out var set))
            {
                var entries = new List<IpsetEntry>();
                var typeName = attributes.Text(ATTR_TYPENAME) ?? "";
                var references = attributes.Nest(ATTR_DATA).UInt32BigEndian(REFERENCES) ?? 0;
                sets[setName] = set =
                    (new IpsetInfo(setName, typeName, TypeOf(typeName), attributes.Byte(ATTR_FAMILY) == 10, (int)references, entries),
                        entries);
            }
            if (set.Info.Type is { } type)
            {
                foreach (var (_, data) in attributes.Nest(ATTR_ADT).All())
                    set.Entries.Add(Parse(new NetlinkAttributes(data), type));
            }
        }
        return [.. sets.Values.Select(s => s.Info)];
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private IReadOnlyList<NetlinkMessage> Dump(string? name) => _socket.Dump("list the sets", () =>
    {
        var request = Request(CMD_LIST);
        return name is null ? request : request.Attribute(ATTR_SETNAME, name);
    });

    private int Change(ushort command, string operation, string name, IpsetType type, IEnumerable<IpsetEntry> entries)
    {
        var messages = 0;
        foreach (var chunk in entries.Chunk(EntriesInMessage))
        {
            var request = Request(command).Attribute(ATTR_SETNAME, name).Attribute(ATTR_LINENO, 0u).Nest(ATTR_ADT | NESTED, adt =>
            {
                foreach (var entry in chunk)
                    adt.Nest(ATTR_DATA | NESTED, data => Write(data, entry, type));
            });
            Execute((operation, request));
            messages++;
        }
        return messages;
    }

    private void Execute((string Operation, NetlinkRequest Request) request)
    {
        try
        {
            _socket.Execute(request);
        }
        catch (KernelException e) when (Explain(e.Errno) is { } words)
        {
            throw new KernelException(request.Operation, e.Errno, words);
        }
    }

    /// <summary>Errors of ipset's own (enum ipset_errno), where the words of errno(3) say nothing.</summary>
    private static string? Explain(int errno) => errno switch
    {
        4098 => "the kernel has no such type of set",
        4100 => "the set is in use by a rule",
        4102 => "the sets are of different types",
        4104 => "the length of the network is invalid",
        SetIsFull => "the set is full",
        _ => null,
    };

    private static void Write(NetlinkRequest data, IpsetEntry entry, IpsetType type)
    {
        if (type != IpsetType.BitmapPort)
            WriteAddress(data, IP, entry.Address!);
        if (type == IpsetType.HashIp)
            return;
        data.BigEndian(PORT | NET_BYTEORDER, entry.Port);
        if (type == IpsetType.BitmapPort)
            return;
        data.Attribute(PROTO, (byte)entry.Protocol);
        if (type is IpsetType.HashIpPortIp or IpsetType.HashIpPortNet)
            WriteAddress(data, IP2, entry.Second!);
        if (type == IpsetType.HashIpPortNet)
            data.Attribute(CIDR2, entry.SecondPrefix);
    }

    private static void WriteAddress(NetlinkRequest data, ushort attribute, IPAddress address) =>
        data.Nest((ushort)(attribute | NESTED), nest =>
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        nest.Attribute((ushort)((length == 4 ? IPADDR_IPV4 : IPADDR_IPV6) | NET_BYTEORDER), bytes[..length]);
    });

    internal static IpsetEntry Parse(NetlinkAttributes data, IpsetType type)
    {
        if (type == IpsetType.BitmapPort)
            return IpsetEntry.OfPort(data.UInt16BigEndian(PORT) ?? 0);
        var address = ParseAddress(data.Nest(IP));
        if (type == IpsetType.HashIp)
            return IpsetEntry.OfAddress(address ?? throw NetlinkAttributes.Unknown("an entry without an address"));
        var second = ParseAddress(data.Nest(IP2));
        // A host comes without its prefix.
        var prefix = type != IpsetType.HashIpPortNet ? (byte)0 : data.Byte(CIDR2)
            ?? (second ?? throw NetlinkAttributes.Unknown("an entry without its network")).AddressFamily switch
            {
                AddressFamily.InterNetwork => 32,
                _ => 128,
            };
        return new IpsetEntry(address, (TransportProtocol)(data.Byte(PROTO) ?? 0), data.UInt16BigEndian(PORT) ?? 0, second, prefix);
    }

    private static IPAddress? ParseAddress(NetlinkAttributes nest) => nest.Address(IPADDR_IPV4) ?? nest.Address(IPADDR_IPV6);

    private byte Revision(IpsetType type, byte family)
    {
        var name = NameOf(type);
        var key = string.Create(CultureInfo.InvariantCulture, $"{name}/{family}");
        if (!_revisions.TryGetValue(key, out var revision))
        {
            var answer = _socket.Query($"find the set type {name}", Request(CMD_TYPE, family).Attribute(ATTR_TYPENAME, name)
                .Attribute(ATTR_FAMILY, family));
            _revisions[key] = revision = answer[0].Attributes(4).Byte(ATTR_REVISION) ?? 0;
        }
        return revision;
    }

    /// <summary>struct nfgenmsg: family, version 0, resource 0.</summary>
    private static NetlinkRequest Request(ushort command, byte family = 2) =>
        new NetlinkRequest((ushort)(Subsystem | command)).Fixed((uint)family).Attribute(ATTR_PROTOCOL, ProtocolVersion);

    private static byte FamilyOf(IpsetType type, bool isIPv6) => type == IpsetType.BitmapPort ? (byte)0 : isIPv6 ? (byte)10 : (byte)2;

    private static string NameOf(IpsetType type) => type switch
    {
        IpsetType.HashIp => "hash:ip",
        IpsetType.HashIpPort => "hash:ip,port",
        IpsetType.HashIpPortIp => "hash:ip,port,ip",
        IpsetType.HashIpPortNet => "hash:ip,port,net",
        _ => "bitmap:port",
    };

    private static IpsetType? TypeOf(string name) => Enum.GetValues<IpsetType>().Where(t => NameOf(t) == name).Select(t => (IpsetType?)t)
        .FirstOrDefault();
}
