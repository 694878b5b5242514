namespace Conformance.Launcher.LabKernels;

/// <summary>
/// Acts when nothing was heard for a time. The time passes in steps of one second, so that a machine that was suspended
/// counts as one step.
/// </summary>
internal sealed class Watchdog : IDisposable
{
    private static readonly TimeSpan s_step = TimeSpan.FromSeconds(1);
    private readonly int _limit;
    private readonly Action _act;
    private readonly Timer _timer;
    private int _silent;

    internal Watchdog(TimeSpan limit, Action act)
    {
        (_limit, _act) = ((int)(limit / s_step), act);
        _timer = new Timer(_ => Step());
    }

    /// <summary>Whether it has acted.</summary>
    internal bool HasEnded { get; private set; }

    /// <summary>Counts from now on, from zero.</summary>
    internal void Start()
    {
        Interlocked.Exchange(ref _silent, 0);
        _timer.Change(s_step, s_step);
    }

    internal void Stop() => _timer.Change(Timeout.Infinite, Timeout.Infinite);

    public void Dispose() => _timer.Dispose();

    private void Step()
    {
        if (Interlocked.Increment(ref _silent) != _limit)
            return;
        HasEnded = true;
        _act();
    }
}
