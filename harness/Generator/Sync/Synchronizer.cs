using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Netlink;

namespace Conformance.Generator.Sync;

/// <summary>
/// Makes the kernel what is desired. Order: set entries and rules are in place before a virtual server answers, and go
/// after it, so that no packet is answered without its masquerade rule. Removals of TCP real servers drain first.
/// What fails is reported and left for the next sync; what depends on it is not done.
/// </summary>
public sealed class Synchronizer(KernelPort kernel)
{
    /// <summary>Sets that exempt from masquerading: they are emptied before what they exempt changes, and filled after it.</summary>
    private static readonly HashSet<SetDefinition> s_exempting = [Decisions.Sets.LoadBalancerLocal, Decisions.Sets.NodePortLocal, Decisions.Sets.NodePortLocalTcp, Decisions.Sets.NodePortLocalUdp, Decisions.Sets.NodePortLocalSctp];

    /// <summary>Sets whose packets pass the filter that keeps strangers from the host's own sockets.</summary>
    private static readonly SetDefinition[] s_passing = [Decisions.Sets.ClusterIp, Decisions.Sets.ExternalIp, Decisions.Sets.ExternalIpLocal, Decisions.Sets.LoadBalancer];

    /// <summary>After so many checks by image everything is compared: the image does not show a virtual server's scheduler flags.</summary>
    private const int MaxShortChecks = 9;

    private readonly HashSet<(VirtualServerKey Key, RealServerKey Real)> _draining = [];
    private readonly List<string> _errors = [];

    /// <summary>What is to be forgotten of UDP, until connection tracking has been gone through; null before the first sync.</summary>
    private StaleUdp? _staleUdp;
    private LiveState? _live;

    /// <summary>The kernel's tables when they were last found to be as desired, and what was desired and had been sent then.</summary>
    private (byte[] Bytes, DesiredState Desired, long Version, int Messages)? _image;
    private int _shortChecks;
    private bool _isBroken;

    /// <summary>Real servers that get no new connections and go when their last one has ended.</summary>
    public IReadOnlyCollection<(VirtualServerKey Key, RealServerKey Real)> Draining => _draining;

    /// <summary>Reads the kernel's state and makes all of it what is desired.</summary>
    public async Task<SyncResult> SyncAllAsync(DesiredState desired, NodeState node)
    {
        var known = _live;
        _live = null; // until the rules are known to be there, no change alone may be written
        Reset();
        _staleUdp ??= new StaleUdp(desired.ServerKeys);
        var image = known is null ? null : kernel.ReadImage();
        var areTablesKnown = _shortChecks < MaxShortChecks && image is not null && _image is { } good
            && (good.Desired, good.Version, good.Messages) == (desired, desired.Version, kernel.Messages) && image.AsSpan().SequenceEqual(good.Bytes);
        _shortChecks = areTablesKnown ? _shortChecks + 1 : 0;
        var live = await kernel.ReadAsync(desired.Options, areTablesKnown ? known : null);
        var difference = Difference.Of(desired, live, node, areTablesKnown);
        _live = live;
        if (!areTablesKnown)
        {
            _draining.Clear();
            _draining.UnionWith(difference.Draining);
        }
        var result = await ApplyAsync(difference, desired, node);
        // Only when the tables were the same before and after they were read is the image one of what was found right.
        if (image is not null && !areTablesKnown && result is { IsGood: true, Changes.Count: 0 } && kernel.ReadImage().AsSpan().SequenceEqual(image))
            _image = (image, desired, desired.Version, kernel.Messages);
        return result;
    }

    /// <summary>Makes what was touched what is desired, without reading the kernel's state again.</summary>
    public async Task<SyncResult> SyncAsync(DesiredState desired, NodeState node, Touched touched) =>
        _live is null ? await SyncAllAsync(desired, node) : await ApplyAsync(Difference.Of(desired, _live, node, touched), desired, node);

    /// <summary>Removes draining real servers whose connections have ended.</summary>
    public SyncResult RemoveDrained()
    {
        var before = kernel.Messages;
        var gone = new List<(VirtualServerKey Key, RealServerKey Real)>();
        foreach (var group in _draining.GroupBy(d => d.Key).ToList())
        {
            var there = DestinationsOf(group.Key);
            _draining.ExceptWith(group.Where(d => !there.ContainsKey(d.Real)).ToList()); // somebody else removed it
            gone.AddRange(group.Where(d => there.TryGetValue(d.Real, out var found) && found.ActiveConnections + found.InactiveConnections == 0));
        }
        DeleteReals(gone);
        return Result(before, [.. gone.Select(g => new Change("real server", "delete", $"{g.Key} -> {g.Real}, drained"))]);
    }

    private Dictionary<RealServerKey, RealServer> DestinationsOf(VirtualServerKey key)
    {
        try
        {
            return kernel.Ipvs.Destinations(key).DistinctBy(d => (d.Address, d.Port)).ToDictionary(d => new RealServerKey(d.Address, d.Port));
        }
        catch (KernelException e) when (e.Errno == IpvsSocket.NoSuchService)
        {
            return []; // the virtual server is gone; of any other error nothing follows about connections
        }
    }

    private async Task<SyncResult> ApplyAsync(Difference difference, DesiredState desired, NodeState node)
    {
        var before = kernel.Messages;
        var changes = difference.Changes().ToList();
        _staleUdp!.Add(difference);
        if (changes.Count == 0 && _staleUdp.IsNothing)
            return Result(before, changes);
        try
        {
            await WriteAsync(difference, desired);
        }
        catch
        {
            _live = null;
            Reset();
            throw;
        }
        if (_errors.Count > 0) // what still differs was not made
            changes = [.. changes.Except(Difference.Of(desired, _live!, node).Changes())];
        var result = Result(before, changes);
        if (result.IsBroken)
            _live = null; // read anew before the next attempt: what is half done is completed then
        return result;
    }

    private async Task WriteAsync(Difference difference, DesiredState desired)
    {
        ApplySettings(difference);
        foreach (var set in difference.CreatedSets)
            Try(() => kernel.Ipset.Create(set.Name, set.Definition.Type, set.IsIPv6, SetDefinition.MaxElements(desired.Entries(set).Count)), () => _live!.Sets[set.Name] = []);
        AddEntries(difference, desired, isExempting: false);
        DeleteEntries(difference, isExempting: true);
        // An address goes before its virtual servers do: no packet to it meets the host's own sockets.
        Unbind(difference.Unbound);
        Send(difference.DeletedServers.Select(k => (kernel.Ipvs.Delete(k), (Action)(() => Forget(k)))));
        if (!_isBroken)
            await ApplyRulesAsync(difference, desired);
        if (_isBroken)
            return; // neither a virtual server without its rules, nor an end of the old without the new
        ApplyServers(difference);
        var unserved = difference.AddedServers.Select(s => s.Key!.Value).Where(k => !_live!.Servers.ContainsKey(k)).ToList();
        Withhold(unserved);
        Unbind(difference.Rebound); // for a moment only: they are bound again at once
        var bound = unserved.Count == 0 ? difference.Bound : difference.Bound.FindAll(a => _live!.Servers.Keys.Any(k => k.Address.Equals(a)));
        var isSource = desired.Options.CompatKubeProxy;
        Send(bound, addresses => kernel.Route.AddHostAddresses(Documents.DocumentSet.Device, addresses, isSource), address => _live!.Bound![address] = [BoundAddress.Of(address, isSource)]);
        Drain(difference.RemovedReals);
        AddEntries(difference, desired, isExempting: true);
        DeleteEntries(difference, isExempting: false);
        foreach (var set in difference.DestroyedSets)
            Try(() => kernel.Ipset.Destroy(set), () => _live!.Sets.Remove(set), isVital: false); // somebody's rule may look into it
        ForgetStaleUdp(desired);
    }

    private void AddEntries(Difference difference, DesiredState desired, bool isExempting)
    {
        foreach (var (set, entries) in difference.AddedEntries.Where(e => s_exempting.Contains(e.Key.Definition) == isExempting))
        {
            Try(() =>
            {
                try
                {
                    kernel.Messages += kernel.Ipset.Add(set.Name, set.Definition.Type, entries);
                }
                catch (KernelException e) when (e.Errno == IpsetSocket.SetIsFull)
                {
                    Enlarge(set, desired.Entries(set).Union(_live!.Sets[set.Name]).ToList());
                }
            }, () => _live!.Sets[set.Name].UnionWith(entries), counts: false);
        }
    }

    /// <summary>A set cannot grow beyond what it was made for: a larger one is made aside and put into its place in one step.</summary>
    private void Enlarge(SetKey set, IReadOnlyCollection<IpsetEntry> entries)
    {
        const string aside = Decisions.Sets.Aside;
        kernel.Ipset.Destroy(aside);
        kernel.Ipset.Create(aside, set.Definition.Type, set.IsIPv6, SetDefinition.MaxElements(entries.Count));
        kernel.Messages += 4 + kernel.Ipset.Add(aside, set.Definition.Type, entries);
        kernel.Ipset.Swap(aside, set.Name);
        kernel.Ipset.Destroy(aside);
    }

    /// <summary>
    /// A virtual server that the kernel refuses must not let its packets through to the host's own sockets: the entries that
    /// let them pass are taken away again, and their address is not bound when nothing else serves it.
    /// </summary>
    private void Withhold(List<VirtualServerKey> unserved)
    {
        foreach (var (set, key) in unserved.SelectMany(k => s_passing.Select(d => (new SetKey(d, k.IsIPv6), k))))
        {
            IpsetEntry[] entry = [new IpsetEntry(key.Address, key.Protocol, key.Port)];
            if (_live!.Sets.TryGetValue(set.Name, out var there) && there.Contains(entry[0]))
                Try(() => kernel.Messages += kernel.Ipset.Delete(set.Name, set.Definition.Type, entry), () => there.ExceptWith(entry), counts: false);
        }
    }

    private void DeleteEntries(Difference difference, bool isExempting)
    {
        foreach (var (set, entries) in difference.DeletedEntries.Where(e => s_exempting.Contains(e.Key.Definition) == isExempting))
            Try(() => kernel.Messages += kernel.Ipset.Delete(set.Name, set.Definition.Type, entries), () => _live!.Sets[set.Name].ExceptWith(entries), counts: false);
    }

    private void ApplySettings(Difference difference)
    {
        foreach (var setting in difference.Sysctls)
            Try(() => kernel.WriteSysctl(setting), () => _live!.Sysctls[setting.Name] = setting.Value, isVital: setting.IsVital);
        if (difference.Timeouts is { } timeouts)
            Try(() => kernel.Ipvs.SetTimeouts(timeouts), () => _live!.Timeouts = timeouts, isVital: false);
        if (difference.AddsDevice)
            Try(() => kernel.Route.AddDummy(Documents.DocumentSet.Device), () => _live!.Bound = []);
    }

    private async Task ApplyRulesAsync(Difference difference, DesiredState desired)
    {
        foreach (var (rules, ipv6, document, _) in difference.Restored)
        {
            try
            {
                await kernel.RestoreAsync(ipv6, document);
                _live!.Rules(ipv6).Become(rules, removesLeftovers: !desired.Options.CompatKubeProxy);
            }
            catch (GeneratorException e)
            {
                _errors.Add(e.Message);
                _isBroken = true;
                return;
            }
        }
    }

    private void ApplyServers(Difference difference)
    {
        Send(difference.AddedServers.Select(s => (kernel.Ipvs.Add(s), (Action)(() => _live!.Servers[s.Key!.Value] = new LiveServer(s)))));
        Send(difference.EditedServers.Select(s => (kernel.Ipvs.Edit(s), (Action)(() => _live!.Servers[s.Key!.Value].Service = s))));
        Send(difference.AddedReals.Where(r => _live!.Servers.ContainsKey(r.Key)).Select(r => (kernel.Ipvs.Add(r.Key, r.Destination), (Action)(() => Remember(r.Key, r.Destination)))));
        Send(difference.EditedReals.Select(r => (kernel.Ipvs.Edit(r.Key, r.Destination), (Action)(() => Remember(r.Key, r.Destination)))));
    }

    /// <summary>
    /// Real servers of TCP with connections get weight 0, so that these go on and no new ones come; all others go at
    /// once. Datagrams have no end to wait for.
    /// </summary>
    private void Drain(List<(VirtualServerKey Key, RealServerKey Real)> removed)
    {
        var gone = new List<(VirtualServerKey, RealServerKey)>();
        var draining = new List<((FormattableString, NetlinkRequest), Action)>();
        foreach (var group in removed.GroupBy(r => r.Key))
        {
            var there = group.Key.Protocol == TransportProtocol.Tcp ? DestinationsOf(group.Key) : [];
            foreach (var (key, real) in group)
            {
                if (!there.TryGetValue(real, out var found) || found.ActiveConnections + found.InactiveConnections == 0)
                {
                    gone.Add((key, real));
                    continue;
                }
                _draining.Add((key, real));
                if (found.Weight != 0)
                    draining.Add((kernel.Ipvs.Edit(key, found with { Weight = 0 }), () => Remember(key, found with { Weight = 0 })));
            }
        }
        Send(draining);
        DeleteReals(gone);
    }

    private void DeleteReals(List<(VirtualServerKey Key, RealServerKey Real)> reals) => Send(reals.Select(r => (kernel.Ipvs.Delete(r.Key, r.Real.Address, r.Real.Port), (Action)(() =>
    {
        _draining.Remove(r);
        if (_live?.Servers.TryGetValue(r.Key, out var server) == true)
            server.RealServers.Remove(r.Real);
    }))));

    /// <summary>
    /// A client that goes on sending datagrams from one port keeps its connection-tracking entry, and with it the path to
    /// an endpoint that is gone, or to nowhere: the entry is deleted.
    /// </summary>
    private void ForgetStaleUdp(DesiredState desired)
    {
        foreach (var ipv6 in _staleUdp!.Families)
            Try(() => kernel.Messages += kernel.Conntrack.Delete(_staleUdp.Servers(ipv6), (key, answering) => _staleUdp.Contains(key, answering, desired)), () => _staleUdp.Forget(ipv6), counts: false);
    }

    private void Send(IEnumerable<((FormattableString Operation, NetlinkRequest Request) Request, Action Done)> requests)
    {
        var all = requests.ToList();
        Note(all, all.Count == 0 ? [] : kernel.Ipvs.Execute(all.Select(r => r.Request)), request => request.Done());
    }

    private void Unbind(List<(IPAddress Address, int PrefixLength)> addresses) => Send(addresses, a => kernel.Route.DeleteAddresses(Documents.DocumentSet.Device, a), gone =>
    {
        if (_live!.Bound!.TryGetValue(gone.Address, out var forms) && forms.RemoveAll(f => f.PrefixLength == gone.PrefixLength) > 0 && forms.Count == 0)
            _live.Bound.Remove(gone.Address);
    });

    private void Send<T>(List<T> addresses, Func<IEnumerable<T>, IReadOnlyList<(int Index, KernelException Error)>> change, Action<T> done) => Note(addresses, addresses.Count == 0 ? [] : change(addresses), done);

    /// <summary>Of a batch, what failed is an error and the rest is done.</summary>
    private void Note<T>(List<T> sent, IReadOnlyList<(int Index, KernelException Error)> failures, Action<T> done)
    {
        kernel.Messages += sent.Count;
        var errors = failures.ToDictionary(f => f.Index, f => f.Error);
        for (var i = 0; i < sent.Count; i++)
        {
            if (errors.TryGetValue(i, out var error))
                _errors.Add(error.Message);
            else
                done(sent[i]);
        }
    }

    /// <param name="isVital">Whether nothing may be served without it; what else fails is told and tried again.</param>
    private void Try(Action action, Action done, bool counts = true, bool isVital = true)
    {
        try
        {
            if (counts)
                kernel.Messages++;
            action();
            done();
        }
        catch (KernelException e)
        {
            _errors.Add(e.Message);
            _isBroken |= isVital;
        }
    }

    private void Remember(VirtualServerKey key, RealServer destination)
    {
        var real = new RealServerKey(destination.Address, destination.Port);
        _live!.Servers[key].RealServers[real] = destination;
        if (destination.Weight > 0)
            _draining.Remove((key, real));
    }

    private void Forget(VirtualServerKey key)
    {
        _live!.Servers.Remove(key);
        _draining.RemoveWhere(d => d.Key == key);
    }

    private SyncResult Result(int messagesBefore, IReadOnlyList<Change> changes)
    {
        var result = new SyncResult(kernel.Messages - messagesBefore, changes, [.. _errors], _isBroken);
        Reset();
        return result;
    }

    private void Reset()
    {
        _errors.Clear();
        _isBroken = false;
    }
}
