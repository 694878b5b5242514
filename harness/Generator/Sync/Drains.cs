using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>Real servers that get no new connections (weight 0) and go when their last connection has ended.</summary>
internal sealed class Drains(IpvsSocket ipvs)
{
    private readonly HashSet<(VirtualServerKey Key, RealServerKey Real)> _draining = [];

    internal IReadOnlyCollection<(VirtualServerKey Key, RealServerKey Real)> All => _draining;

    internal void Become(IEnumerable<(VirtualServerKey Key, RealServerKey Real)> draining)
    {
        _draining.Clear();
        _draining.UnionWith(draining);
    }

    internal void Add(VirtualServerKey key, RealServerKey real) => _draining.Add((key, real));

    internal void Remove(VirtualServerKey key, RealServerKey real) => _draining.Remove((key, real));

    internal void Forget(VirtualServerKey key) => _draining.RemoveWhere(d => d.Key == key);

    /// <summary>Those whose connections have ended.</summary>
    internal List<(VirtualServerKey Key, RealServerKey Real)> Ended()
    {
        var ended = new List<(VirtualServerKey Key, RealServerKey Real)>();
        foreach (var group in _draining.GroupBy(d => d.Key).ToList())
        {
            var there = RealServersOf(group.Key);
            _draining.ExceptWith(group.Where(d => !there.ContainsKey(d.Real)).ToList()); // another program removed it
            ended.AddRange(group.Where(d => there.TryGetValue(d.Real, out var found)
                && found.ActiveConnections + found.InactiveConnections == 0));
        }
        return ended;
    }

    /// <summary>The kernel's real servers of a virtual server with their counts; none when the virtual server is gone.</summary>
    internal Dictionary<RealServerKey, RealServer> RealServersOf(VirtualServerKey key)
    {
        try
        {
            return ipvs.Destinations(key).DistinctBy(d => d.Key).ToDictionary(d => d.Key);
        }
        catch (KernelException e) when (e.Errno == IpvsSocket.NoSuchService)
        {
            return []; // the virtual server is gone; any other error says nothing about connections
        }
    }
}
