using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Netlink;

namespace Conformance.Generator.Sync;

/// <summary>
/// Executes one plan, and keeps the live state up to date with it. A failed change is an error of the result, and is planned
/// again by the next sync; a step that depends on it is not made.
/// </summary>
internal sealed class Executor(KernelPort kernel, LiveState live, DesiredState desired, Drains drains)
{
    /// <summary>Sets whose packets pass the filter that protects the host's own sockets.</summary>
    private static readonly SetDefinition[] s_passing = [Sets.ClusterIp, Sets.ExternalIp, Sets.ExternalIpLocal, Sets.LoadBalancer];

    private readonly ChangesMade _done = new();
    private readonly List<string> _errors = [];

    /// <summary>Whether everything before the virtual servers is there.</summary>
    private bool _mayServe = true;

    /// <summary>The changes that were made, in order.</summary>
    internal IReadOnlyCollection<Change> Done => _done;

    internal IReadOnlyList<string> Errors => _errors;

    /// <summary>Whether a vital step failed: nothing may be served without it.</summary>
    internal bool IsBroken { get; private set; }

    internal void Execute(SyncPlan plan)
    {
        foreach (var step in plan.Steps)
        {
            // Neither a virtual server without its rules, nor an end of the old state without the new one.
            if (!_mayServe && step.Phase > Phase.Prepare)
                return;
            Execute(step);
            if (IsBroken && step.Phase < Phase.Serve)
                _mayServe = false;
        }
    }

    private void Execute(Step step)
    {
        switch (step)
        {
            case SetSysctl { Setting: var setting }:
                Try(step, () => kernel.WriteSysctl(setting), () => live.Sysctls[setting.Name] = setting.Value,
                    isVital: setting.IsVital);
                break;
            case SetTimeouts { Timeouts: var timeouts }:
                Try(step, () => kernel.Ipvs.SetTimeouts(timeouts), () => live.Timeouts = timeouts, isVital: false);
                break;
            case AddDevice:
                Try(step, () => kernel.Route.AddDummy(DocumentSet.Device), () => live.Bound = []);
                break;
            case CreateSet { Set: var set }:
                Try(step, () => kernel.Ipset.Create(set.Name, set.Definition.Type, set.IsIPv6,
                    SetDefinition.MaxElements(desired.Entries(set).Count)), () => live.Sets[set.Name] = []);
                break;
            case DestroySet { Name: var name }:
                // a foreign rule may refer to it
                Try(step, () => kernel.Ipset.Destroy(name), () => live.Sets.Remove(name), isVital: false);
                break;
            case AddEntries { Set: var set, Items: var entries }:
                Try(step, () => Add(set, entries), () => live.Sets[set.Name].UnionWith(entries), counts: false);
                break;
            case DeleteEntries { Set: var set, Items: var entries }:
                Try(step, () => kernel.Messages += kernel.Ipset.Delete(set.Name, set.Definition.Type, entries),
                    () => live.Sets[set.Name].ExceptWith(entries), counts: false);
                break;
            case RestoreRules rules:
                Restore(rules);
                break;
            case DeleteServers servers:
                Send(servers, kernel.Ipvs.Delete, Forget);
                break;
            case AddServers servers:
                Send(servers, kernel.Ipvs.Add, s => live.Servers[s.Key!.Value] = new LiveServer(s));
                break;
            case EditServers servers:
                Send(servers, kernel.Ipvs.Edit, s => live.Servers[s.Key!.Value].Service = s);
                break;
            case AddReals reals:
                Send(reals with { Items = [.. reals.Items.Where(r => live.Servers.ContainsKey(r.Key))] },
                    r => kernel.Ipvs.Add(r.Key, r.Real), Remember);
                break;
            case EditReals reals:
                Send(reals, r => kernel.Ipvs.Edit(r.Key, r.Real), Remember);
                break;
            case RemoveReals { Items: var reals }:
                Remove(reals);
                break;
            case DeleteReals reals:
                Delete(reals);
                break;
            case Bind bind:
                Execute(bind);
                break;
            case Unbind addresses:
                Send(addresses, a => kernel.Route.DeleteAddresses(DocumentSet.Device, a), gone =>
                {
                    if (live.Bound!.TryGetValue(gone.Address, out var forms)
                        && forms.RemoveAll(f => f.PrefixLength == gone.PrefixLength) > 0 && forms.Count == 0)
                        live.Bound.Remove(gone.Address);
                });
                break;
            case ForgetStaleUdp { Stale: var stale }:
                Forget(stale);
                break;
            default:
                throw new InvalidOperationException($"The executor does not know the step {step.GetType().Name}.");
        }
    }

    private void Add(SetKey set, IReadOnlyList<IpsetEntry> entries)
    {
        try
        {
            kernel.Messages += kernel.Ipset.Add(set.Name, set.Definition.Type, entries);
        }
        catch (KernelException e) when (e.Errno == IpsetSocket.SetIsFull)
        {
            Enlarge(set, desired.Entries(set).Union(live.Sets[set.Name]).ToList());
        }
    }

    /// <summary>A set cannot grow beyond its maximum: a larger one is made aside and swapped into its place in one step.</summary>
    private void Enlarge(SetKey set, IReadOnlyCollection<IpsetEntry> entries)
    {
        const string aside = Sets.Aside;
        kernel.Ipset.Destroy(aside);
        kernel.Ipset.Create(aside, set.Definition.Type, set.IsIPv6, SetDefinition.MaxElements(entries.Count));
        kernel.Messages += 4 + kernel.Ipset.Add(aside, set.Definition.Type, entries);
        kernel.Ipset.Swap(aside, set.Name);
        kernel.Ipset.Destroy(aside);
    }

    private void Restore(RestoreRules step)
    {
        try
        {
            kernel.Restore(step.IsIPv6, step.Document);
            live.Rules(step.IsIPv6).Become(step.Rules, removesLeftovers: !desired.Options.CompatKubeProxy);
            _done.Add(step);
        }
        catch (GeneratorException e)
        {
            _errors.Add(e.Message);
            IsBroken = true;
        }
    }

    private void Execute(Bind bind)
    {
        var unserved = bind.Awaited.Where(k => !live.Servers.ContainsKey(k)).ToList();
        Withhold(unserved);
        var served = unserved.Count == 0 ? [] : live.Servers.Keys.Select(k => k.Address).ToHashSet();
        var bound = unserved.Count == 0 ? bind : bind with { Items = [.. bind.Items.Where(served.Contains)] };
        var isSource = desired.Options.CompatKubeProxy;
        Send(bound, addresses => kernel.Route.AddHostAddresses(DocumentSet.Device, addresses, isSource),
            address => live.Bound![address] = [BoundAddress.Of(address, isSource)]);
    }

    /// <summary>
    /// A virtual server that the kernel refused must not let its packets through to the host's own sockets: the set entries that
    /// let them pass are removed again.
    /// </summary>
    private void Withhold(List<VirtualServerKey> unserved)
    {
        foreach (var set in s_passing.SelectMany(d => new[] { new SetKey(d, false), new SetKey(d, true) }))
        {
            if (!live.Sets.TryGetValue(set.Name, out var there))
                continue;
            var entries = unserved.Where(k => k.IsIPv6 == set.IsIPv6).Select(k => new IpsetEntry(k.Address, k.Protocol, k.Port))
                .Where(there.Contains).ToList();
            if (entries.Count == 0)
                continue;
            Try(null, () => kernel.Messages += kernel.Ipset.Delete(set.Name, set.Definition.Type, entries), () =>
            {
                there.ExceptWith(entries);
                _done.Withdraw(set, entries);
            }, counts: false);
        }
    }

    private void Remove(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> reals)
    {
        var gone = new List<(VirtualServerKey, RealServerKey)>();
        var draining = new List<(VirtualServerKey, RealServer)>();
        foreach (var group in reals.GroupBy(r => r.Key))
        {
            // The counts in the live state may be old.
            var there = group.Key.Protocol == TransportProtocol.Tcp ? drains.RealServersOf(group.Key) : [];
            foreach (var (key, real) in group)
            {
                if (!there.TryGetValue(real.Key, out var found) || !RemoveReals.Drains(key, found))
                {
                    gone.Add((key, real.Key));
                    continue;
                }
                drains.Add(key, real.Key);
                if (found.Weight != 0)
                    draining.Add((key, found with { Weight = 0 }));
            }
        }
        Execute(new EditReals(draining));
        Delete(new DeleteReals(gone));
    }

    private void Forget(StaleUdp stale)
    {
        foreach (var ipv6 in stale.Families)
            Try(step: null, () => kernel.Messages += kernel.Conntrack.Delete(stale.Servers(ipv6),
                (key, answering) => stale.Contains(key, answering, desired)), () => stale.Forget(ipv6), counts: false);
    }

    private void Delete(DeleteReals step) => Send(step, r => kernel.Ipvs.Delete(r.Key, r.Real.Address, r.Real.Port), r =>
    {
        drains.Remove(r.Key, r.Real);
        if (live.Servers.TryGetValue(r.Key, out var server))
            server.RealServers.Remove(r.Real);
    });

    /// <summary>Each request is made when it is sent: of a hundred thousand, a hundred are in memory at once.</summary>
    private void Send<T>(Batch<T> step, Func<T, (FormattableString Operation, NetlinkRequest Request)> request, Action<T> done) =>
        Send(step, items => kernel.Ipvs.Execute(items.Select(request)), done);

    /// <summary>Of a batch, each failure is an error and the rest is done.</summary>
    private void Send<T>(Batch<T> step, Func<IReadOnlyList<T>, IReadOnlyList<(int Index, KernelException Error)>> change, Action<T> done)
    {
        if (step.Count == 0)
            return;
        kernel.Messages += step.Count;
        var failures = change(step.Items);
        if (failures.Count > 0)
        {
            _errors.AddRange(failures.Select(f => f.Error.Message));
            var failed = failures.Select(f => f.Index).ToHashSet();
            step = step with { Items = [.. step.Items.Where((_, i) => !failed.Contains(i))] };
        }
        foreach (var item in step.Items)
            done(item);
        _done.Add(step);
    }

    /// <param name="isVital">Whether nothing may be served without it. Any other failure is an error, and is tried again by the next
    /// sync.</param>
    private void Try(Step? step, Action action, Action done, bool counts = true, bool isVital = true)
    {
        try
        {
            if (counts)
                kernel.Messages++;
            action();
            done();
            if (step is not null)
                _done.Add(step);
        }
        catch (KernelException e)
        {
            _errors.Add(e.Message);
            IsBroken |= isVital;
        }
    }

    private void Remember((VirtualServerKey Key, RealServer Real) added)
    {
        live.Servers[added.Key].RealServers[added.Real.Key] = added.Real;
        if (added.Real.Weight > 0)
            drains.Remove(added.Key, added.Real.Key);
    }

    private void Forget(VirtualServerKey key)
    {
        live.Servers.Remove(key);
        drains.Forget(key);
    }
}
