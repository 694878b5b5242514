using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>
/// Which entries of connection tracking lead datagrams to an endpoint that is gone, or to nowhere. It is kept until they
/// have been deleted: the sync that would have done so may fail before it comes to that.
/// </summary>
internal sealed class StaleUdp
{
    private readonly HashSet<(VirtualServerKey Key, IPAddress Endpoint)> _gone = [];
    private readonly HashSet<VirtualServerKey> _servers = [];

    /// <summary>Virtual servers of which only what their real servers answer is good.</summary>
    private readonly HashSet<VirtualServerKey> _judged = [];

    /// <param name="servers">What is served: an earlier run may have been killed before it came to deleting.</param>
    internal StaleUdp(IEnumerable<VirtualServerKey> servers) => Judge(servers);

    internal IReadOnlyList<bool> Families => [.. Keys.Select(k => k.IsIPv6).Distinct()];

    internal bool IsNothing => !Keys.Any();

    /// <summary>The virtual servers whose entries are to be judged.</summary>
    internal IReadOnlyCollection<VirtualServerKey> Servers(bool ipv6) => [.. Keys.Where(k => k.IsIPv6 == ipv6).Distinct()];

    private IEnumerable<VirtualServerKey> Keys => _gone.Select(g => g.Key).Concat(_servers).Concat(_judged);

    internal void Add(Difference difference)
    {
        // What has come back since is no longer gone.
        _servers.ExceptWith(difference.AddedServers.Select(s => s.Key).OfType<VirtualServerKey>());
        _gone.ExceptWith(difference.AddedReals.Select(r => (r.Key, r.Real.Address)));
        _gone.UnionWith(difference.RemovedReals.Where(r => r.Key.Protocol == TransportProtocol.Udp).Select(r => (r.Key, r.Real.Address)));
        _servers.UnionWith(difference.DeletedServers.Where(k => k.Protocol == TransportProtocol.Udp));
        Judge(difference.AddedReals.Select(r => r.Key));
    }

    /// <param name="key">Where the client sends.</param>
    /// <param name="answering">Who would answer.</param>
    internal bool Contains(VirtualServerKey key, IPAddress answering, DesiredState desired) =>
        _servers.Contains(key) || _gone.Contains((key, answering))
        || (_judged.Contains(key) && desired.Server(key) is { } server && server.RealServers.All(r => !r.Address.Equals(answering)));

    internal void Forget(bool ipv6)
    {
        _gone.RemoveWhere(g => g.Key.IsIPv6 == ipv6);
        _servers.RemoveWhere(k => k.IsIPv6 == ipv6);
        _judged.RemoveWhere(k => k.IsIPv6 == ipv6);
    }

    private void Judge(IEnumerable<VirtualServerKey> servers) => _judged.UnionWith(servers.Where(k => k.Protocol == TransportProtocol.Udp));
}
