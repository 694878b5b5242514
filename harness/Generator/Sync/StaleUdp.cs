using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Kernel;
using Conformance.Kernel.Netlink;

namespace Conformance.Generator.Sync;

/// <summary>
/// Which entries of connection tracking lead datagrams to an endpoint that is gone, or to nowhere. It is kept until they
/// have been deleted: the sync that would have done so may fail before it comes to that.
/// </summary>
internal sealed class StaleUdp
{
    private readonly HashSet<(IpvsKey Key, IPAddress Endpoint)> _gone = [];
    private readonly HashSet<IpvsKey> _servers = [];
    private readonly HashSet<IpvsKey> _others = [];

    internal IReadOnlyList<bool> Families => [.. _gone.Select(g => g.Key.IsIPv6).Concat(_servers.Select(k => k.IsIPv6)).Concat(_others.Select(k => k.IsIPv6)).Distinct()];

    internal bool IsNothing => _gone.Count + _servers.Count + _others.Count == 0;

    internal void Add(Difference difference)
    {
        // What has come back since is no longer gone.
        _servers.ExceptWith(difference.AddedServers.Select(s => s.Key).OfType<IpvsKey>());
        _gone.ExceptWith(difference.AddedReals.Select(r => (r.Key, r.Destination.Address)));
        _gone.UnionWith(difference.RemovedReals.Where(r => r.Key.Protocol == IpProtocol.Udp).Select(r => (r.Key, r.Real.Address)));
        _servers.UnionWith(difference.DeletedServers.Where(k => k.Protocol == IpProtocol.Udp));
        Add(difference.AddedReals.Select(r => r.Key));
    }

    /// <summary>Virtual servers of which only what their real servers answer is good.</summary>
    internal void Add(IEnumerable<IpvsKey> servers) => _others.UnionWith(servers.Where(k => k.Protocol == IpProtocol.Udp));

    /// <param name="key">Where the client sends.</param>
    /// <param name="answering">Who would answer.</param>
    internal bool Contains(IpvsKey key, IPAddress answering, DesiredState desired) =>
        _servers.Contains(key) || _gone.Contains((key, answering))
        || (_others.Contains(key) && desired.Server(key) is { } server && server.RealServers.All(r => !r.Address.Equals(answering)));

    internal void Forget(bool ipv6)
    {
        _gone.RemoveWhere(g => g.Key.IsIPv6 == ipv6);
        _servers.RemoveWhere(k => k.IsIPv6 == ipv6);
        _others.RemoveWhere(k => k.IsIPv6 == ipv6);
    }
}
