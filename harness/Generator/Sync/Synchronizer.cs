using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>
/// Makes the kernel what is desired: finds the difference, plans the steps, executes them. It keeps the live state between
/// syncs, so that a change of objects costs only its own messages.
/// </summary>
/// <param name="around">Called with each plan and what executes it; null executes it as it is.</param>
public sealed class Synchronizer(KernelPort kernel, Action<SyncPlan, Action<SyncPlan>>? around = null)
{
    /// <summary>
    /// After so many checks by image the virtual servers are asked for as well: the image does not show a virtual server's scheduler flags.
    /// </summary>
    private const int MaxShortChecks = 9;

    private readonly Drains _drains = new(kernel.Ipvs);

    /// <summary>Conntrack entries of UDP that are to be deleted, until they have been; null before the first sync.</summary>
    private StaleUdp? _staleUdp;

    /// <summary>The kernel's state as far as it is known; null when it has to be read.</summary>
    private LiveState? _live;

    /// <summary>
    /// The kernel's tables when they were last found to be as desired, with the desired state and the messages sent until then.
    /// </summary>
    private (byte[] Bytes, DesiredState Desired, long Version, int Messages)? _image;
    private int _shortChecks;
    private DesiredState? _desired;

    /// <summary>Real servers that get no new connections and go when their last one has ended.</summary>
    public IReadOnlyCollection<(VirtualServerKey Key, RealServerKey Real)> Draining => _drains.All;

    /// <summary>Reads the kernel's state and makes all of it what is desired.</summary>
    public SyncResult SyncAll(DesiredState desired, NodeState node)
    {
        var known = _live;
        _live = null; // until the rules are known to be there, no change alone may be written
        _staleUdp ??= new StaleUdp(desired.ServerKeys);
        var image = known is not null && _image is { } good
            && (good.Desired, good.Version, good.Messages) == (desired, desired.Version, kernel.Messages) && kernel.HasImage(good.Bytes)
            ? good.Bytes : null;
        var areTablesKnown = image is not null && (_shortChecks < MaxShortChecks || kernel.HasVirtualServers(known!.Servers));
        _shortChecks = areTablesKnown && _shortChecks < MaxShortChecks ? _shortChecks + 1 : 0;
        image ??= known is null ? null : kernel.ReadImage();
        var live = kernel.Read(desired.Options, areTablesKnown ? known : null);
        var difference = Difference.Of(desired, live, node, areTablesKnown);
        _live = live;
        if (!areTablesKnown)
            _drains.Become(difference.Draining);
        var result = Apply(difference, live, desired);
        // Only when the tables were the same before and after they were read is the image one of what was found right.
        if (image is not null && !areTablesKnown && result is { IsGood: true, Changes.Count: 0 } && kernel.HasImage(image))
            _image = (image, desired, desired.Version, kernel.Messages);
        return result;
    }

    /// <summary>Sets the kernel parameters that have another value, and nothing else.</summary>
    /// <param name="report">Called with a failure that is not vital: it is the watch's to report again, and keeps no pod from
    /// starting.</param>
    public SyncResult SetSysctls(GeneratorOptions options, Action<string> report)
    {
        var errors = new List<string>();
        var changes = new List<Change>();
        foreach (var setting in kernel.UnmetSysctls(options))
        {
            try
            {
                kernel.WriteSysctl(setting);
                changes.AddRange(new SetSysctl(setting).Changes);
            }
            catch (KernelException e)
            {
                if (setting.IsVital)
                    errors.Add(e.Message);
                else
                    report(e.Message);
            }
        }
        return new SyncResult(changes.Count, changes, errors, IsBroken: false);
    }

    /// <summary>Makes what was touched what is desired, without reading the kernel's state again.</summary>
    public SyncResult Sync(DesiredState desired, NodeState node, Touched touched) =>
        _live is { } live ? Apply(Difference.Of(desired, live, node, touched), live, desired)
            : SyncAll(desired, node);

    /// <summary>Removes draining real servers whose connections have ended.</summary>
    public SyncResult RemoveDrained()
    {
        if (_desired is null || _drains.All.Count == 0)
            return new SyncResult(0, [], [], IsBroken: false);
        var before = kernel.Messages;
        var executor = new Executor(kernel, _live ?? LiveState.Empty, _desired, _drains);
        Execute(new SyncPlan([new DeleteReals(_drains.Ended(), Note: ", drained")]), executor);
        return new SyncResult(kernel.Messages - before, executor.Done, executor.Errors, executor.IsBroken);
    }

    private SyncResult Apply(Difference difference, LiveState live, DesiredState desired)
    {
        _desired = desired;
        var before = kernel.Messages;
        _staleUdp!.Add(difference);
        var executor = new Executor(kernel, live, desired, _drains);
        try
        {
            var plan = SyncPlan.Of(difference);
            Execute(_staleUdp.IsNothing ? plan : new SyncPlan([.. plan.Steps, new ForgetStaleUdp(_staleUdp)]), executor);
        }
        catch
        {
            _live = null;
            throw;
        }
        if (executor.IsBroken)
            _live = null; // read again before the next attempt, which completes the rest
        return new SyncResult(kernel.Messages - before, executor.Done, executor.Errors, executor.IsBroken);
    }

    private void Execute(SyncPlan plan, Executor executor)
    {
        if (around is null)
            executor.Execute(plan);
        else
            around(plan, executor.Execute);
    }
}
