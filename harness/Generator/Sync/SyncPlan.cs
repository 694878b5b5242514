using Conformance.Generator.Decisions;

namespace Conformance.Generator.Sync;

/// <summary>
/// The steps that remove a difference, in the order in which they are made: <c>plan</c> prints it, <c>apply</c> executes it.
/// Set entries and rules are there before a virtual server answers, and go after it, so that no packet is answered without
/// its masquerade rule. An address goes before its virtual servers, so that no packet to it meets the host's own sockets.
/// </summary>
public sealed record SyncPlan(IReadOnlyList<Step> Steps)
{
    /// <summary>Sets that exempt from masquerading: they are emptied before the exempted traffic changes, and filled after it.</summary>
    private static readonly HashSet<SetDefinition> s_exempting =
        [Sets.LoadBalancerLocal, Sets.NodePortLocal, Sets.NodePortLocalTcp, Sets.NodePortLocalUdp, Sets.NodePortLocalSctp];

    /// <summary>All changes in order.</summary>
    public IEnumerable<Change> Changes => Steps.SelectMany(s => s.Changes);

    /// <summary>Whether the kernel is as desired.</summary>
    public bool IsEmpty => Steps.Count == 0;

    /// <summary>The plan that removes a difference.</summary>
    public static SyncPlan Of(Difference difference)
    {
        var steps = new List<Step>();
        steps.AddRange(difference.Sysctls.Select(s => new SetSysctl(s)));
        if (difference.Timeouts is { } timeouts)
            steps.Add(new SetTimeouts(timeouts));
        if (difference.AddsDevice)
            steps.Add(new AddDevice());
        steps.AddRange(difference.CreatedSets.Select(s => new CreateSet(s)));
        steps.AddRange(difference.AddedEntries.Where(e => !s_exempting.Contains(e.Key.Definition))
            .Select(e => new AddEntries(Phase.Prepare, e.Key, e.Value)));
        steps.AddRange(difference.DeletedEntries.Where(e => s_exempting.Contains(e.Key.Definition))
            .Select(e => new DeleteEntries(Phase.Prepare, e.Key, e.Value)));
        Add(difference.Unbound.Count, () => new Unbind(Phase.Prepare, difference.Unbound));
        Add(difference.DeletedServers.Count, () => new DeleteServers(difference.DeletedServers));
        steps.AddRange(difference.Restored);
        Add(difference.AddedServers.Count, () => new AddServers(difference.AddedServers));
        Add(difference.EditedServers.Count, () => new EditServers(difference.EditedServers));
        Add(difference.AddedReals.Count, () => new AddReals(difference.AddedReals));
        Add(difference.EditedReals.Count, () => new EditReals(difference.EditedReals));
        Add(difference.Rebound.Count, () => new Unbind(Phase.Serve, difference.Rebound)); // for a moment: they are bound again at once
        Add(difference.Bound.Count + difference.AddedServers.Count,
            () => new Bind(difference.Bound, [.. difference.AddedServers.Select(s => s.Key!.Value)]));
        Add(difference.RemovedReals.Count, () => new RemoveReals(difference.RemovedReals));
        steps.AddRange(difference.AddedEntries.Where(e => s_exempting.Contains(e.Key.Definition))
            .Select(e => new AddEntries(Phase.Serve, e.Key, e.Value)));
        steps.AddRange(difference.DeletedEntries.Where(e => !s_exempting.Contains(e.Key.Definition))
            .Select(e => new DeleteEntries(Phase.Serve, e.Key, e.Value)));
        steps.AddRange(difference.DestroyedSets.Select(s => new DestroySet(s)));
        return new SyncPlan(steps);

        void Add(int count, Func<Step> make)
        {
            if (count > 0)
                steps.Add(make());
        }
    }
}
