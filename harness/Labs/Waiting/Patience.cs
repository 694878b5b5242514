using System.Diagnostics;

namespace Conformance.Labs.Waiting;

/// <summary>
/// A time after which a flow counts as unanswered. Servers and clients are of one process: while that gets no processor, or
/// its thread pool no thread, an answer cannot come. So the time passes in steps that go through the same queue, and a
/// stall, however long, counts as one step.
/// </summary>
public sealed class Patience : IDisposable
{
    private static readonly TimeSpan s_step = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_stall = 5 * s_step;
    private static int s_count;
    private static int s_starved;
    private readonly CancellationTokenSource _end = new();
    private readonly Timer _timer;
    private int _steps;
    private long _stepped = Stopwatch.GetTimestamp();
    private bool _isStarved;

    /// <summary>Starts to count.</summary>
    /// <param name="time">The time without stalls, in steps of 100 ms.</param>
    public Patience(TimeSpan time)
    {
        Interlocked.Increment(ref s_count);
        _steps = (int)(time / s_step);
        _timer = new Timer(_ => Step());
        _timer.Change(s_step, Timeout.InfiniteTimeSpan);
    }

    /// <summary>How many waits of this process there were, and in how many of them a step took five times as long as it should.</summary>
    public static (int Count, int Starved) Waits => (s_count, s_starved);

    /// <summary>Cancelled when the time has passed.</summary>
    public CancellationToken Token => _end.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        _timer.Dispose();
        _end.Dispose();
    }

    private void Step()
    {
        Heartbeat.Beat();
        var now = Stopwatch.GetTimestamp();
        if (!_isStarved && Stopwatch.GetElapsedTime(_stepped, now) > s_stall)
        {
            _isStarved = true;
            Interlocked.Increment(ref s_starved);
        }
        _stepped = now;
        try
        {
            if (--_steps <= 0)
                _end.Cancel();
            else
                _timer.Change(s_step, Timeout.InfiniteTimeSpan);
        }
        catch (ObjectDisposedException)
        {
            // the answer has come
        }
    }
}
