using System.Collections.Concurrent;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Conformance.Linux.Interop;
using static Conformance.Linux.Links.RouteMessages;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Netlink;

namespace Conformance.Linux.Links;

/// <summary>An interface as the kernel lists it.</summary>
/// <param name="IsUp">IFF_UP.</param>
/// <param name="IsOperational">
/// IF_OPER_UP (Documentation/networking/operstates.rst): it is up, has a carrier, and the kernel has acted on that.
/// </param>
/// <param name="Master">The index of the bridge whose port it is; 0 for none.</param>
public sealed record LinkInfo(int Index, string Name, string Kind, bool IsUp, bool IsOperational, uint Mtu, PhysicalAddress Address,
    int Master);

/// <summary>An address on an interface.</summary>
public sealed record AddressInfo(int LinkIndex, IPAddress Address, int PrefixLength)
{
    /// <summary>Whether the kernel may choose it as the source of packets that leave the node.</summary>
    public bool IsSource { get; init; } = true;
}

/// <summary>A route of the main table; no gateway means connected, no destination means default.</summary>
public sealed record RouteInfo(IPNetwork Destination, IPAddress? Gateway, int LinkIndex);

/// <summary>A neighbour (ARP or NDP) entry. State is a bit set of NUD_* (linux/neighbour.h).</summary>
public sealed record NeighbourInfo(int LinkIndex, IPAddress Address, PhysicalAddress? LinkAddress, int State);

/// <summary>Links, addresses, routes and neighbours of one namespace, over rtnetlink(7).</summary>
public sealed class RouteSocket(NetworkNamespace ns) : IDisposable
{
    private readonly NetlinkSocket _socket = new(ns, NetlinkProtocol.Route);
    private readonly ConcurrentDictionary<string, int> _indexes = new(StringComparer.Ordinal);

    /// <param name="address">The bridge's own MAC address; without one it takes a port's.</param>
    public void AddBridge(string name, uint mtu = 1500, PhysicalAddress? address = null)
    {
        var request = NewLink(name).Attribute(IFLA_MTU, mtu);
        if (address is not null)
            request.Attribute(IFLA_ADDRESS, address.GetAddressBytes());
        _socket.Execute(($"create the bridge {name}", request.Nest(IFLA_LINKINFO, info => info.Attribute(IFLA_INFO_KIND, "bridge"))));
    }

    /// <summary>Makes a VXLAN device that learns nothing: every other end is in <see cref="AddForwarding"/>.</summary>
    /// <param name="over">The device that carries it, and the address there.</param>
    public void AddVxlan(string name, uint vni, ushort port, (string Link, IPAddress Local) over, PhysicalAddress address, uint mtu) =>
        _socket.Execute((
        $"create the VXLAN device {name}",
        NewLink(name).Attribute(IFLA_MTU, mtu).Attribute(IFLA_ADDRESS, address.GetAddressBytes()).Nest(IFLA_LINKINFO, info => info
            .Attribute(IFLA_INFO_KIND, "vxlan")
            .Nest(IFLA_INFO_DATA, data => data
                .Attribute(IFLA_VXLAN_ID, vni)
                .Attribute(IFLA_VXLAN_LINK, (uint)IndexOf(over.Link))
                .Attribute(over.Local.AddressFamily == AddressFamily.InterNetworkV6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, over.Local)
                .Attribute(IFLA_VXLAN_LEARNING, (byte)0)
                .BigEndian(IFLA_VXLAN_PORT, port)))));

    /// <summary>Tells a VXLAN device which host a MAC address is behind.</summary>
    public void AddForwarding(string link, PhysicalAddress address, IPAddress host) => _socket.Execute((
        $"add the forwarding entry of {address} to {link}",
        new NetlinkRequest(RTM_NEWNEIGH, NetlinkFlags.Create | NetlinkFlags.Replace)
            .Fixed(new ndmsg { ndm_family = AF_BRIDGE, ndm_ifindex = IndexOf(link), ndm_state = NUD_PERMANENT, ndm_flags = NTF_SELF })
            .Attribute(NDA_LLADDR, address.GetAddressBytes())
            .Attribute(NDA_DST, host)));

    /// <summary>Adds a neighbour that stays: nobody is asked for it.</summary>
    public void AddNeighbour(string link, IPAddress neighbour, PhysicalAddress address) => _socket.Execute((
        $"add the neighbour {neighbour} on {link}",
        new NetlinkRequest(RTM_NEWNEIGH, NetlinkFlags.Create | NetlinkFlags.Replace)
            .Fixed(new ndmsg { ndm_family = Family(neighbour), ndm_ifindex = IndexOf(link), ndm_state = NUD_PERMANENT })
            .Attribute(NDA_DST, neighbour)
            .Attribute(NDA_LLADDR, address.GetAddressBytes())));

    /// <summary>
    /// Lets neighbours that ask on a link for an address be answered, though the link does not have it (ip neighbour add proxy).
    /// </summary>
    public void AddProxy(string link, IPAddress address) => _socket.Execute((
        $"answer for {address} on {link}",
        new NetlinkRequest(RTM_NEWNEIGH, NetlinkFlags.Create | NetlinkFlags.Replace)
            .Fixed(new ndmsg { ndm_family = Family(address), ndm_ifindex = IndexOf(link), ndm_flags = NTF_PROXY })
            .Attribute(NDA_DST, address)));

    /// <summary>Adds a dummy interface; one that exists stays.</summary>
    public void AddDummy(string name) => AddLink(name, "dummy");

    /// <summary>Adds an interface of a kind that needs no further words; one that exists stays.</summary>
    /// <param name="kind">As in <c>ip link add type KIND</c>: dummy, ipip, gre, ip6tnl.</param>
    public void AddLink(string name, string kind)
    {
        _socket.Execute(($"create the {kind} device {name}", NewLink(name)
            .Nest(IFLA_LINKINFO, info => info.Attribute(IFLA_INFO_KIND, kind))));
        _indexes.TryRemove(name, out _); // somebody else may have deleted one of this name
    }

    /// <summary>Makes a veth pair: one end here, the other, with its MAC address, in another namespace.</summary>
    public void AddVeth(string name, string peerName, NetworkNamespace peerNamespace, PhysicalAddress peerAddress, uint mtu = 1500) =>
        WithDescriptor(peerNamespace, fd => _socket.Execute((
            $"create the veth pair {name} - {peerNamespace}:{peerName}",
            NewLink(name).Attribute(IFLA_MTU, mtu).Nest(IFLA_LINKINFO, info => info
                .Attribute(IFLA_INFO_KIND, "veth")
                .Nest(IFLA_INFO_DATA, data => data.Nest(VETH_INFO_PEER, peer => peer
                    .Fixed(default(ifinfomsg))
                    .Attribute(IFLA_IFNAME, peerName)
                    .Attribute(IFLA_MTU, mtu)
                    .Attribute(IFLA_ADDRESS, peerAddress.GetAddressBytes())
                    .Attribute(IFLA_NET_NS_FD, (uint)fd)))))));

    /// <summary>Sets an interface up or down and, where asked, its master (a bridge).</summary>
    public void SetLink(string name, bool up = true, string? master = null)
    {
        var message = new ifinfomsg { ifi_index = IndexOf(name), ifi_flags = up ? IFF_UP : 0, ifi_change = IFF_UP };
        var request = new NetlinkRequest(RTM_NEWLINK).Fixed(message);
        if (master is not null)
            request.Attribute(IFLA_MASTER, (uint)IndexOf(master));
        _socket.Execute(($"set the interface {name} {(up ? "up" : "down")}", request));
    }

    /// <summary>
    /// Lets a bridge send a frame back out of the port that it came in by: a pod that reaches itself through its Service.
    /// </summary>
    public void SetHairpin(string port, bool on = true) => _socket.Execute((
        $"set the hairpin mode of {port}",
        new NetlinkRequest(RTM_NEWLINK).Fixed(new ifinfomsg { ifi_index = IndexOf(port) }).Nest(IFLA_LINKINFO, info => info
            .Attribute(IFLA_INFO_SLAVE_KIND, "bridge")
            .Nest(IFLA_INFO_SLAVE_DATA, data => data.Attribute(IFLA_BRPORT_MODE, on ? (byte)1 : (byte)0)))));

    /// <summary>Deletes an interface; one that does not exist does not matter.</summary>
    public void DeleteLink(string name)
    {
        _socket.Execute(($"delete the interface {name}", new NetlinkRequest(RTM_DELLINK)
            .Fixed(new ifinfomsg { ifi_index = IndexOf(name) })));
        _indexes.Clear();
    }

    /// <summary>Adds an address with its prefix. As ip(8) does, no broadcast address is set.</summary>
    public void AddAddress(string link, IPAddress address, int prefixLength) => _socket.Execute((
        $"add the address {address}/{prefixLength} to {link}",
        AddressRequest(RTM_NEWADDR, NetlinkFlags.Create | NetlinkFlags.Exclusive, link, address, prefixLength)));

    /// <summary>
    /// Adds many addresses without a network around them (/32, /128), as ip(8) does it: IPv6 with duplicate address detection where the
    /// interface is up.
    /// </summary>
    /// <param name="isSource">
    /// Whether the kernel may choose them as the source of the node's own packets. One that it may not has, in IPv4, the scope
    /// host (inet_select_addr in net/ipv4/devinet.c), and in IPv6 no preferred lifetime (RFC 6724, rule 3).
    /// </param>
    /// <returns>Those that failed, by their number.</returns>
    public IReadOnlyList<(int Index, KernelException Error)> AddHostAddresses(string link, IEnumerable<IPAddress> addresses,
        bool isSource) => _socket.TryExecute(addresses.Select(a => (
        (FormattableString)$"add the address {a} to {link}", HostAddressRequest(link, a, isSource))));

    /// <summary>Deletes many addresses, each with the length of its prefix.</summary>
    /// <returns>Those that failed, by their number.</returns>
    public IReadOnlyList<(int Index, KernelException Error)> DeleteAddresses(string link,
        IEnumerable<(IPAddress Address, int PrefixLength)> addresses) => _socket.TryExecute(addresses.Select(a => (
        (FormattableString)$"delete the address {a.Address}/{a.PrefixLength} of {link}",
            AddressRequest(RTM_DELADDR, NetlinkFlags.None, link, a.Address, a.PrefixLength, flags: 0))));

    private NetlinkRequest HostAddressRequest(string link, IPAddress address, bool isSource)
    {
        var scope = isSource || address.AddressFamily == AddressFamily.InterNetworkV6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_HOST;
        var request = AddressRequest(RTM_NEWADDR, NetlinkFlags.Create | NetlinkFlags.Exclusive, link, address,
            address.GetAddressBytes().Length * 8, flags: 0, scope);
        if (!isSource && address.AddressFamily == AddressFamily.InterNetworkV6)
            // preferred, valid, two time stamps
            request.Attribute(IFA_CACHEINFO, [.. BitConverter.GetBytes(0u), .. BitConverter.GetBytes(uint.MaxValue), .. new byte[8]]);
        return request;
    }

    /// <summary>Deletes an address of an interface.</summary>
    /// <exception cref="KernelException">The interface does not have it (EADDRNOTAVAIL).</exception>
    public void DeleteAddress(string link, IPAddress address, int prefixLength) => _socket.Execute((
        $"delete the address {address}/{prefixLength} of {link}",
        AddressRequest(RTM_DELADDR, NetlinkFlags.None, link, address, prefixLength)));

    /// <summary>Adds a route through a gateway.</summary>
    public void AddRoute(IPNetwork destination, IPAddress gateway) => _socket.Execute((
        $"add the route to {destination} through {gateway}",
        RouteRequest(RTM_NEWROUTE, NetlinkFlags.Create | NetlinkFlags.Exclusive, destination).Attribute(RTA_GATEWAY, gateway)));

    /// <summary>Adds a route through a gateway that is on the link though no network there says so.</summary>
    public void AddRoute(IPNetwork destination, IPAddress gateway, string link) => _socket.Execute((
        $"add the route to {destination} through {gateway} on {link}",
        RouteRequest(RTM_NEWROUTE, NetlinkFlags.Create | NetlinkFlags.Exclusive, destination, routeFlags: RTNH_F_ONLINK)
        .Attribute(RTA_GATEWAY, gateway).Attribute(RTA_OIF, (uint)IndexOf(link))));

    /// <summary>Adds a route to a network that is directly on the link.</summary>
    public void AddRoute(IPNetwork destination, string link) => _socket.Execute((
        $"add the route to {destination} on {link}",
        RouteRequest(RTM_NEWROUTE, NetlinkFlags.Create | NetlinkFlags.Exclusive, destination, RT_SCOPE_LINK)
        .Attribute(RTA_OIF, (uint)IndexOf(link))));

    /// <summary>Deletes the route to a destination, whoever added it.</summary>
    public void DeleteRoute(IPNetwork destination) => _socket.Execute((
        $"delete the route to {destination}", RouteRequest(RTM_DELROUTE, NetlinkFlags.None, destination, RT_SCOPE_NOWHERE, protocol: 0)));

    /// <summary>The interfaces of the namespace.</summary>
    public IReadOnlyList<LinkInfo> Links() =>
        [.. _socket.Dump("list the links", () => new NetlinkRequest(RTM_GETLINK).Fixed(default(ifinfomsg))).Select(message =>
        {
            var head = message.Fixed<ifinfomsg>();
            var attributes = message.Attributes(Marshal.SizeOf<ifinfomsg>());
            return new LinkInfo(
                head.ifi_index,
                attributes.Text(IFLA_IFNAME) ?? "",
                attributes.Nest(IFLA_LINKINFO).Text(IFLA_INFO_KIND) ?? "",
                (head.ifi_flags & IFF_UP) != 0,
                attributes.Byte(IFLA_OPERSTATE) == IF_OPER_UP,
                attributes.UInt32(IFLA_MTU) ?? 0,
                new PhysicalAddress(attributes.Find(IFLA_ADDRESS)?.ToArray() ?? []),
                (int)(attributes.UInt32(IFLA_MASTER) ?? 0));
        })];

    /// <summary>The addresses of all interfaces, both families.</summary>
    public IReadOnlyList<AddressInfo> Addresses() =>
        [.. _socket.Dump("list the addresses", () => new NetlinkRequest(RTM_GETADDR).Fixed(default(ifaddrmsg))).Select(message =>
        {
            var head = message.Fixed<ifaddrmsg>();
            var attributes = message.Attributes(Marshal.SizeOf<ifaddrmsg>());
            var address = attributes.Address(IFA_LOCAL) ?? attributes.Address(IFA_ADDRESS);
            var preferred = attributes.Find(IFA_CACHEINFO) is { Length: >= 4 } cache ? BitConverter.ToUInt32(cache.Span) : uint.MaxValue;
            return new AddressInfo((int)head.ifa_index, address!, head.ifa_prefixlen) { IsSource = head.ifa_scope != RT_SCOPE_HOST
                && preferred != 0 };
        })];

    /// <summary>The routes of the main table, both families.</summary>
    public IReadOnlyList<RouteInfo> Routes() =>
        [.. from message in _socket.Dump("list the routes", () => new NetlinkRequest(RTM_GETROUTE).Fixed(default(rtmsg)))
            let head = message.Fixed<rtmsg>()
            where head.rtm_type == RTN_UNICAST && head.rtm_family is (byte)AddressFamily.InterNetwork or Inet6
            let attributes = message.Attributes(Marshal.SizeOf<rtmsg>())
            where (attributes.UInt32(RTA_TABLE) ?? head.rtm_table) == RT_TABLE_MAIN
            select new RouteInfo(
                new IPNetwork(attributes.Address(RTA_DST) ?? (head.rtm_family == Inet6 ? IPAddress.IPv6Any : IPAddress.Any),
                    head.rtm_dst_len),
                attributes.Address(RTA_GATEWAY),
                (int)(attributes.UInt32(RTA_OIF) ?? 0))];

    /// <summary>The neighbour entries (ARP and neighbour discovery).</summary>
    public IReadOnlyList<NeighbourInfo> Neighbours() =>
        [.. from message in _socket.Dump("list the neighbours", () => new NetlinkRequest(RTM_GETNEIGH).Fixed(default(ndmsg)))
            let head = message.Fixed<ndmsg>()
            let attributes = message.Attributes(Marshal.SizeOf<ndmsg>())
            let address = attributes.Address(NDA_DST)
            where address is not null
            select new NeighbourInfo(
                head.ndm_ifindex,
                address,
                attributes.Find(NDA_LLADDR) is { } bytes ? new PhysicalAddress(bytes.ToArray()) : null,
                head.ndm_state)];

    /// <summary>The interface's index. It is looked up once: another program that renames interfaces is not followed.</summary>
    public int IndexOf(string link) => _indexes.GetOrAdd(link, name =>
    {
        var index = ns.Run(() => Libc.if_nametoindex(name));
        return index != 0 ? (int)index : throw KernelException.FromErrno($"find the interface {name} in {ns}");
    });

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private const byte Inet6 = 10; // AF_INET6 of Linux; .NET's AddressFamily has another number

    private static byte Family(IPAddress address) =>
        address.AddressFamily == AddressFamily.InterNetworkV6 ? Inet6 : (byte)AddressFamily.InterNetwork;

    private static NetlinkRequest NewLink(string name) =>
        new NetlinkRequest(RTM_NEWLINK, NetlinkFlags.Create | NetlinkFlags.Exclusive).Fixed(default(ifinfomsg))
            .Attribute(IFLA_IFNAME, name);

    private static NetlinkRequest RouteRequest(ushort type, NetlinkFlags flags, IPNetwork destination, byte scope = RT_SCOPE_UNIVERSE,
        byte protocol = RTPROT_STATIC, uint routeFlags = 0)
    {
        var request = new NetlinkRequest(type, flags).Fixed(new rtmsg
        {
            rtm_family = Family(destination.BaseAddress),
            rtm_dst_len = (byte)destination.PrefixLength,
            rtm_table = RT_TABLE_MAIN,
            rtm_protocol = protocol,
            rtm_scope = scope,
            rtm_type = RTN_UNICAST,
            rtm_flags = routeFlags,
        });
        return destination.PrefixLength > 0 ? request.Attribute(RTA_DST, destination.BaseAddress) : request;
    }

    private NetlinkRequest AddressRequest(ushort type, NetlinkFlags options, string link, IPAddress address, int prefixLength,
        byte flags = IFA_F_NODAD, byte scope = RT_SCOPE_UNIVERSE) =>
        new NetlinkRequest(type, options)
            .Fixed(new ifaddrmsg
            {
                ifa_family = Family(address),
                ifa_prefixlen = (byte)prefixLength,
                ifa_flags = flags,
                ifa_scope = scope,
                ifa_index = (uint)IndexOf(link),
            })
            .Attribute(IFA_LOCAL, address)
            .Attribute(IFA_ADDRESS, address);

    private static void WithDescriptor(NetworkNamespace peer, Action<int> use)
    {
        var fd = Libc.open(peer.Path, Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (fd < 0)
            throw KernelException.FromErrno($"open {peer.Path}");
        try
        {
            use(fd);
        }
        finally
        {
            _ = Libc.close(fd);
        }
    }
}
