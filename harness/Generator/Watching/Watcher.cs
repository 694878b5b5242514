using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Serving;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;
using Conformance.Linux;

namespace Conformance.Generator.Watching;

/// <summary>
/// Keeps the kernel what the objects ask for: a change of an object is synced at once and costs what it touched; every
/// period the kernel is read and drift is undone; what failed is tried again with growing pauses. Stopping it leaves
/// the state.
/// </summary>
internal sealed class Watcher(GeneratorOptions options, Watcher.OpenFeed openFeed, KernelPort kernel, Synchronizer synchronizer,
    Telemetry telemetry, Action<string> log)
{
    /// <param name="changed">To be called when there is something to take.</param>
    internal delegate IFeed OpenFeed(Action changed, Action<InputProblem> report);

    /// <summary>Between two looks whether draining real servers have lost their last connection.</summary>
    private static readonly TimeSpan s_drainPeriod = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan s_firstLook = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(30);

    private abstract record Event
    {
        internal sealed record InputChanged : Event;

        internal sealed record Look : Event;

        internal sealed record Drained : Event;

        internal sealed record Retry : Event;
    }

    private const string DriftCheck = "drift check";

    /// <summary>Changes of one sync that its line in the log names.</summary>
    private const int MaxReasons = 3;

    private readonly Channel<Event> _events = Channel.CreateUnbounded<Event>();
    private readonly Cluster _cluster = new();
    private readonly Backoff _retries = new(s_firstRetry, s_lastRetry);
    private World? _world;
    private Touched _touched = new();
    private TimeSpan _retry;
    private HashSet<string> _warnings = [];
    private string? _whyNoIPv6 = kernel.WhyNoIPv6; // the session has reported that
    private bool _isRetryDue;

    /// <summary>Watches until it is cancelled.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        using var feed = openFeed(() => _events.Writer.TryWrite(new Event.InputChanged()), Report);
        telemetry.Serve();

        await ReadAllAsync(feed, cancellationToken);
        LookAtNode();
        if (NodeStates.WhyNotOurs(options, _cluster, kernel.NodeAddresses()) is { } why)
            log(why);
        await SyncAsync("start", isFull: true);
        telemetry.UpdateHealthChecks(_world?.Desired, _world?.Node);
        // Reading and writing everything took several times the memory that following it takes: the machine gets it back.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);

        CrashReport.LetRun(TickAsync(options.IpvsSyncPeriod, new Event.Look(), cancellationToken), cancellationToken);
        CrashReport.LetRun(TickAsync(s_drainPeriod, new Event.Drained(), cancellationToken), cancellationToken);
        while (await _events.Reader.WaitToReadAsync(cancellationToken))
        {
            var (reasons, isFull) = TryTake(feed);
            if (reasons.Count == 0 && !isFull && _touched.IsNothing)
                continue;
            await SyncAsync(reasons.Count == 0 ? DriftCheck : string.Join(", ", reasons), isFull || _world is null);
            telemetry.UpdateHealthChecks(_world?.Desired, _world?.Node);
            if (options.IpvsMinSyncPeriod > TimeSpan.Zero)
                await Task.Delay(options.IpvsMinSyncPeriod, cancellationToken);
        }
    }

    /// <summary>Nothing is synced before all has been read whole: what is missing would be taken for deleted.</summary>
    private async Task ReadAllAsync(IFeed feed, CancellationToken cancellationToken)
    {
        var pauses = new Backoff(s_firstLook, s_lastRetry);
        while (true)
        {
            var unread = feed.Unread; // before taking: what was read by now is taken
            feed.Take(_cluster);
            if (unread.Count == 0 && feed.Unread.Count == 0)
                return;
            var pause = pauses.Next();
            if (pause >= s_firstRetry)
                log($"waiting: {string.Join(", ", feed.Unread)} cannot be read whole; nothing is changed until it can");
            await Task.Delay(pause, cancellationToken);
        }
    }

    /// <summary>Whatever goes wrong while taking, the next attempt takes and decides everything again.</summary>
    private (List<string> Reasons, bool IsFull) TryTake(IFeed feed)
    {
        try
        {
            return Take(feed);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _world = null;
            Tell("input", new SyncResult(0, [], [e.Message], IsBroken: true), TimeSpan.Zero, RetryLater());
            return ([], false);
        }
    }

    /// <summary>Takes all that has happened: changed objects are decided again.</summary>
    private (List<string> Reasons, bool IsFull) Take(IFeed feed)
    {
        var reasons = new List<string>();
        var isFull = false;
        while (_events.Reader.TryRead(out var happened))
        {
            switch (happened)
            {
                case Event.InputChanged:
                    break; // taken below, all at once
                case Event.Drained:
                    var drained = synchronizer.RemoveDrained();
                    Tell("drained", drained, TimeSpan.Zero, drained.IsGood ? TimeSpan.Zero : RetryLater());
                    break;
                case Event.Retry:
                    _isRetryDue = false;
                    reasons.Add("retry");
                    isFull = true;
                    break;
                default:
                    isFull = true;
                    break;
            }
        }
        var taken = feed.Take(_cluster);
        foreach (var service in taken.Services)
            _world?.Decide(service, _touched);
        // What a Node's object tells of its health every few seconds is no change for us.
        var isNodeDifferent = taken.NodeChanged && _world is not null
            && !NodeStates.IsSame(_world.Node, NodeStates.Of(options, _cluster, _world.Node.Addresses, kernel.HasIPv6));
        if (taken.Services.Count > 0 || isNodeDifferent)
            reasons.AddRange(taken.Reasons.Count <= MaxReasons ? taken.Reasons.Distinct(StringComparer.Ordinal)
                : [string.Create(CultureInfo.InvariantCulture, $"{taken.Reasons.Count} changes")]);
        telemetry.Count(taken);
        if (taken.NodeChanged)
            LookAtNode();
        isFull |= isNodeDifferent;
        return (reasons, isFull);
    }

    private async Task SyncAsync(string reason, bool isFull)
    {
        var duration = Stopwatch.StartNew();
        telemetry.Begin();
        SyncResult result;
        try
        {
            if (isFull)
            {
                LookAtIPv6();
                // The node's addresses may have changed as well: they decide about node ports.
                var node = NodeStates.Of(options, _cluster, kernel.NodeAddresses(), kernel.HasIPv6);
                if (_world is null || !NodeStates.IsSame(_world.Node, node))
                    _world = new World(options, node, _cluster);
                result = synchronizer.SyncAll(_world.Desired, node);
            }
            else
            {
                result = synchronizer.Sync(_world!.Desired, _world.Node, _touched);
            }
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Whatever it was: what is there stays, and the next attempt reads everything again.
            result = new SyncResult(0, [], [e.Message], IsBroken: true);
        }
        _touched = new Touched();
        telemetry.End(result, isDriftCheck: reason == DriftCheck, duration.Elapsed);
        if (result.IsGood)
            _retries.Reset();
        var again = result.IsGood ? TimeSpan.Zero : RetryLater();
        Tell(reason, result, duration.Elapsed, again);
    }

    /// <summary>Once, however many syncs fail until then.</summary>
    /// <returns>How long until it is tried again.</returns>
    private TimeSpan RetryLater()
    {
        if (_isRetryDue)
            return _retry;
        _isRetryDue = true;
        _retry = _retries.Next();
        CrashReport.LetRun(TickOnceAsync(_retry), CancellationToken.None);
        return _retry;
    }

    /// <summary>One line for each sync.</summary>
    private void Tell(string reason, SyncResult result, TimeSpan duration, TimeSpan again = default)
    {
        telemetry.Observe(result.Changes.Count, _cluster, synchronizer.Draining.Count, _world?.Desired);
        var failed = result.IsGood ? "" : string.Create(CultureInfo.InvariantCulture,
            $"; {result.Errors.Count} failed, again within {again.TotalSeconds:0} s");
        if (reason != "drained" || result.Changes.Count > 0 || !result.IsGood)
            log(string.Create(CultureInfo.InvariantCulture,
                $"sync: {reason}: {result.Changes.Count} changes by {result.Messages} messages in {duration.TotalMilliseconds:0.0} " +
                $"ms{failed}"));
        foreach (var error in result.Errors)
            log($"error: {error.ReplaceLineEndings(" | ")}");
        TellWarnings();
    }

    /// <summary>Logs each warning once.</summary>
    private void TellWarnings()
    {
        var warnings = (_world?.Warnings ?? []).ToHashSet(StringComparer.Ordinal);
        foreach (var warning in warnings.Except(_warnings, StringComparer.Ordinal))
            log(warning);
        _warnings = warnings;
    }

    /// <summary>What was not there at the start, or was switched off, may be there now, and the other way round.</summary>
    private void LookAtIPv6()
    {
        kernel.ProbeIPv6();
        var why = kernel.WhyNoIPv6;
        if (why != _whyNoIPv6)
            log(why is null ? "IPv6 is served again" : $"IPv4 alone is served: {why}");
        _whyNoIPv6 = why;
    }

    private void LookAtNode() => telemetry.ObserveNode(_cluster.Nodes.GetValueOrDefault(options.HostnameOverride));

    private void Report(InputProblem problem)
    {
        if (problem.Effect != ProblemEffect.NotOurs)
            telemetry.CountProblem();
        log(problem.ToString());
    }

    private async Task TickAsync(TimeSpan period, Event happened, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(period);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            if (happened is Event.Look)
                telemetry.Expect(); // here, not where it is taken: whatever holds that up is no health
            if (happened is not Event.Drained || synchronizer.Draining.Count > 0)
                _events.Writer.TryWrite(happened);
        }
    }

    private async Task TickOnceAsync(TimeSpan after)
    {
        await Task.Delay(after);
        _events.Writer.TryWrite(new Event.Retry());
    }
}
