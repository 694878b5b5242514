using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Ipvs;

/// <summary>The time-outs of connections in seconds; 0 leaves what is set.</summary>
public sealed record IpvsTimeouts(int Tcp, int TcpFin, int Udp);

/// <summary>
/// Virtual and real servers of one namespace over generic netlink (family IPVS, linux/ip_vs.h). Requests are values
/// that <see cref="Execute"/> sends in batches: ten thousand virtual servers take a fraction of a second.
/// </summary>
public sealed class IpvsSocket : IDisposable
{
    /// <summary>ESRCH: there is no such virtual server (net/netfilter/ipvs/ip_vs_ctl.c).</summary>
    public const int NoSuchService = 3;

    private const byte NEW_SERVICE = 1, SET_SERVICE = 2, DEL_SERVICE = 3, GET_SERVICE = 4, NEW_DEST = 5, SET_DEST = 6, DEL_DEST = 7,
        GET_DEST = 8, SET_CONFIG = 12, GET_CONFIG = 13;
    private const ushort ATTR_SERVICE = 1, ATTR_DEST = 2, ATTR_TIMEOUT_TCP = 4, ATTR_TIMEOUT_TCP_FIN = 5, ATTR_TIMEOUT_UDP = 6;
    private const ushort SVC_AF = 1, SVC_PROTOCOL = 2, SVC_ADDR = 3, SVC_PORT = 4, SVC_FWMARK = 5, SVC_SCHED_NAME = 6, SVC_FLAGS = 7,
        SVC_TIMEOUT = 8, SVC_NETMASK = 9;
    private const ushort DEST_ADDR = 1, DEST_PORT = 2, DEST_FWD_METHOD = 3, DEST_WEIGHT = 4, DEST_U_THRESH = 5, DEST_L_THRESH = 6,
        DEST_ACTIVE = 7, DEST_INACTIVE = 8, DEST_ADDR_FAMILY = 11;
    private const int ListTries = 20;
    private const uint FwdMask = 7; // IP_VS_CONN_F_FWD_MASK

    private readonly NetlinkSocket _socket;
    private readonly ushort _family;

    /// <exception cref="KernelException">The kernel has no IPVS (ENOENT), or CAP_NET_ADMIN is lacking (EPERM).</exception>
    public IpvsSocket(NetworkNamespace ns)
    {
        _socket = new NetlinkSocket(ns, NetlinkProtocol.Generic);
        _family = GenericNetlink.ResolveFamily(_socket, "IPVS");
    }

    /// <summary>Adds a virtual server (EEXIST when it is there).</summary>
    public (FormattableString Operation, NetlinkRequest Request) Add(VirtualServer service) =>
        ($"add the virtual server {service.Key}", Service(NEW_SERVICE, service));

    /// <summary>Changes scheduler, flags and persistence of a virtual server; its real servers and connections stay.</summary>
    public (FormattableString Operation, NetlinkRequest Request) Edit(VirtualServer service) =>
        ($"edit the virtual server {service.Key}", Service(SET_SERVICE, service));

    /// <summary>Deletes a virtual server with its real servers.</summary>
    public (FormattableString Operation, NetlinkRequest Request) Delete(VirtualServerKey key) =>
        ($"delete the virtual server {key}", Request(DEL_SERVICE).Nest(ATTR_SERVICE, s => Identify(s, key)));

    /// <summary>Adds a real server (EEXIST when it is there).</summary>
    public (FormattableString Operation, NetlinkRequest Request) Add(VirtualServerKey key, RealServer destination) =>
        ($"add the real server {destination.Address}:{destination.Port} to {key}", Destination(NEW_DEST, key, destination));

    /// <summary>Changes weight and method of a real server.</summary>
    public (FormattableString Operation, NetlinkRequest Request) Edit(VirtualServerKey key, RealServer destination) =>
        ($"edit the real server {destination.Address}:{destination.Port} of {key}", Destination(SET_DEST, key, destination));

    /// <summary>Deletes a real server; its connections stay until they end or expire.</summary>
    public (FormattableString Operation, NetlinkRequest Request) Delete(VirtualServerKey key, IPAddress address, ushort port) =>
        ($"delete the real server {address}:{port} of {key}",
            Destination(DEL_DEST, key, new RealServer(address, port, ForwardingMethod.Masq, 0)));

    /// <summary>Carries out requests in order.</summary>
    /// <returns>Those that failed, by their number. The others have been carried out.</returns>
    public IReadOnlyList<(int Index, KernelException Error)> Execute(
        IEnumerable<(FormattableString Operation, NetlinkRequest Request)> requests) => _socket.TryExecute(requests);

    /// <exception cref="KernelException">The request failed.</exception>
    public void ExecuteOne((FormattableString Operation, NetlinkRequest Request) request)
    {
        if (Execute([request]) is [var failure])
            throw failure.Error;
    }

    /// <summary>
    /// Every virtual server of the namespace, firewall marks included. The kernel finds its place in a list by a count over
    /// all namespaces, so that a change in another one repeats or leaves out some (ip_vs_genl_dump_services): it is asked
    /// until it says the same twice.
    /// </summary>
    public IReadOnlyList<VirtualServer> Services()
    {
        var services = DumpServices();
        for (var tries = 0; tries < ListTries; tries++)
        {
            var again = DumpServices();
            if (services.SetEquals(again))
                break;
            services = again;
        }
        return [.. services];
    }

    /// <summary>The real servers of one virtual server with their counts of connections.</summary>
    public IReadOnlyList<RealServer> Destinations(VirtualServerKey key) =>
        [.. _socket.Dump($"list the real servers of {key}", () => Request(GET_DEST).Nest(ATTR_SERVICE, s => Identify(s, key)))
            .Select(m => ParseDestination(m.Attributes(GenericNetlink.HeaderLength).Nest(ATTR_DEST), key.IsIPv6))];

    /// <summary>Sets the time-outs of connections (ipvsadm --set).</summary>
    /// <exception cref="KernelException">A value is out of range (EINVAL).</exception>
    public void SetTimeouts(IpvsTimeouts timeouts) => _socket.Execute(("set the time-outs of IPVS", Request(SET_CONFIG)
        .Attribute(ATTR_TIMEOUT_TCP, (uint)timeouts.Tcp).Attribute(ATTR_TIMEOUT_TCP_FIN, (uint)timeouts.TcpFin)
            .Attribute(ATTR_TIMEOUT_UDP, (uint)timeouts.Udp)));

    /// <summary>Reads the time-outs of connections.</summary>
    public IpvsTimeouts Timeouts()
    {
        var answer = _socket.Query("read the time-outs of IPVS", Request(GET_CONFIG))[0].Attributes(GenericNetlink.HeaderLength);
        return new IpvsTimeouts((int)(answer.UInt32(ATTR_TIMEOUT_TCP) ?? 0), (int)(answer.UInt32(ATTR_TIMEOUT_TCP_FIN) ?? 0),
            (int)(answer.UInt32(ATTR_TIMEOUT_UDP) ?? 0));
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private HashSet<VirtualServer> DumpServices() =>
        [.. _socket.Dump("list the virtual servers", () => Request(GET_SERVICE))
            .Select(m => ParseService(m.Attributes(GenericNetlink.HeaderLength).Nest(ATTR_SERVICE)))];

    private NetlinkRequest Request(byte command) => new NetlinkRequest(_family).Fixed(GenericNetlink.Header(command));

    private NetlinkRequest Service(byte command, VirtualServer service)
    {
        var key = service.Key ?? throw new ArgumentException("Only virtual servers by address are set.", nameof(service));
        var flags = service.Flags | (service.PersistenceSeconds > 0 ? VirtualServerFlags.Persistent : VirtualServerFlags.None);
        return Request(command).Nest(ATTR_SERVICE, nest => Identify(nest, key)
            .Attribute(SVC_SCHED_NAME, service.Scheduler)
            .Attribute(SVC_FLAGS, MemoryMarshal.AsBytes(stackalloc uint[] { (uint)flags, uint.MaxValue })) // value and mask
            .Attribute(SVC_TIMEOUT, (uint)service.PersistenceSeconds)
            .Attribute(SVC_NETMASK, key.IsIPv6 ? 128u : uint.MaxValue));
    }

    private NetlinkRequest Destination(byte command, VirtualServerKey key, RealServer destination) => Request(command)
        .Nest(ATTR_SERVICE, nest => Identify(nest, key))
        .Nest(ATTR_DEST, nest => Address(nest, DEST_ADDR, destination.Address)
            .BigEndian(DEST_PORT, destination.Port)
            .Attribute(DEST_FWD_METHOD, (uint)destination.Method)
            .Attribute(DEST_WEIGHT, (uint)destination.Weight)
            .Attribute(DEST_U_THRESH, 0u)
            .Attribute(DEST_L_THRESH, 0u)
            .UInt16(DEST_ADDR_FAMILY, FamilyOf(destination.Address)));

    private static NetlinkRequest Identify(NetlinkRequest nest, VirtualServerKey key) => Address(
        nest.UInt16(SVC_AF, FamilyOf(key.Address)).UInt16(SVC_PROTOCOL, (ushort)key.Protocol), SVC_ADDR, key.Address)
            .BigEndian(SVC_PORT, key.Port);

    /// <summary>union nf_inet_addr: 16 bytes for both families.</summary>
    private static NetlinkRequest Address(NetlinkRequest nest, ushort type, IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        address.TryWriteBytes(bytes, out _);
        return nest.Attribute(type, bytes);
    }

    private static ushort FamilyOf(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6 ? (ushort)10 : (ushort)2;

    internal static VirtualServer ParseService(NetlinkAttributes attributes)
    {
        var mark = attributes.UInt32(SVC_FWMARK) ?? 0;
        var flags = attributes.Find(SVC_FLAGS) is { Length: >= 4 } value
            ? (VirtualServerFlags)BinaryPrimitives.ReadUInt32LittleEndian(value.Span) : VirtualServerFlags.None;
        var isPersistent = flags.HasFlag(VirtualServerFlags.Persistent);
        VirtualServerKey? key = mark != 0 ? null : new VirtualServerKey(
            (TransportProtocol)BinaryPrimitives.ReadUInt16LittleEndian(attributes.Required(SVC_PROTOCOL, sizeof(ushort))),
            ParseAddress(attributes, SVC_ADDR, BinaryPrimitives.ReadUInt16LittleEndian(attributes.Required(SVC_AF, sizeof(ushort))) == 10),
            attributes.UInt16BigEndian(SVC_PORT) ?? 0);
        return new VirtualServer(key, mark, attributes.Text(SVC_SCHED_NAME) ?? "",
            flags & ~(VirtualServerFlags.Persistent | VirtualServerFlags.Hashed), isPersistent
            ? (int)(attributes.UInt32(SVC_TIMEOUT) ?? 0) : 0);
    }

    internal static RealServer ParseDestination(NetlinkAttributes attributes, bool isIPv6)
    {
        if (attributes.Find(DEST_ADDR_FAMILY) is { Length: >= sizeof(ushort) } family)
            isIPv6 = BinaryPrimitives.ReadUInt16LittleEndian(family.Span) == 10;
        return new RealServer(
            ParseAddress(attributes, DEST_ADDR, isIPv6), attributes.UInt16BigEndian(DEST_PORT) ?? 0,
            (ForwardingMethod)((attributes.UInt32(DEST_FWD_METHOD) ?? 0) & FwdMask), (int)(attributes.UInt32(DEST_WEIGHT) ?? 0),
            (int)(attributes.UInt32(DEST_ACTIVE) ?? 0), (int)(attributes.UInt32(DEST_INACTIVE) ?? 0));
    }

    private static IPAddress ParseAddress(NetlinkAttributes attributes, ushort type, bool isIPv6)
    {
        var length = isIPv6 ? 16 : 4;
        return new IPAddress(attributes.Required(type, length)[..length]);
    }
}
