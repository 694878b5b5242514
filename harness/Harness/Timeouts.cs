using System.Text;
using Conformance.Harness.Traffic;
using Shouldly;

namespace Conformance.Harness;

/// <summary>Every time-out of the harness. A lab has no real distances: what has not come by then does not come.</summary>
public static class Timeouts
{
    /// <summary>Until a connection attempt or an unanswered question counts as silence; long enough to see one retransmitted SYN (1 s).</summary>
    public static TimeSpan Silence { get; } = TimeSpan.FromSeconds(2);

    /// <summary>Until a server must have answered on a connection that stands.</summary>
    public static TimeSpan Answer { get; } = TimeSpan.FromSeconds(10);

    /// <summary>Until an expected state of a table must be there.</summary>
    public static TimeSpan Eventually { get; } = TimeSpan.FromSeconds(5);

    /// <summary>Until a program that was started must have done its first work.</summary>
    public static TimeSpan Start { get; } = TimeSpan.FromSeconds(60);

    /// <summary>Until a command in a node must have ended.</summary>
    public static TimeSpan Command { get; } = TimeSpan.FromSeconds(30);
}

/// <summary>
/// Shows that a wait goes on. Every wait of the harness has a limit of its own and beats until then, so whoever watches the
/// tests can tell a long wait from a hang.
/// </summary>
public static class Heartbeat
{
    /// <summary>Called on any thread, often.</summary>
    public static Action Beaten { get; set; } = () => { };

    public static void Beat() => Beaten();
}

/// <summary>
/// A time after which a flow counts as unanswered. Servers and clients are of one process: while that gets no processor, or
/// its thread pool no thread, an answer cannot come. So the time passes in steps that go through the same queue, and a
/// stall, however long, counts as one step.
/// </summary>
public sealed class Patience : IDisposable
{
    private static readonly TimeSpan s_step = TimeSpan.FromMilliseconds(100);
    private readonly CancellationTokenSource _end = new();
    private readonly Timer _timer;
    private int _steps;

    public Patience(TimeSpan time)
    {
        _steps = (int)(time / s_step);
        _timer = new Timer(_ => Step());
        _timer.Change(s_step, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Cancelled when the time has passed.</summary>
    public CancellationToken Token => _end.Token;

    public void Dispose()
    {
        _timer.Dispose();
        _end.Dispose();
    }

    private void Step()
    {
        Heartbeat.Beat();
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

/// <summary>Waits for a condition, and says what it last saw when the condition does not come.</summary>
public static class Eventually
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    /// <returns>The first value that satisfies the condition.</returns>
    /// <exception cref="ShouldAssertException">Names the condition, the last value and the log as it is then.</exception>
    public static Task<T> Async<T>(string what, Func<T> read, Func<T, bool> isSo, TimeSpan? timeout = null, TimeSpan? pause = null, StringBuilder? log = null) =>
        Async(what, () => Task.FromResult(read()), isSo, timeout, pause, log);

    /// <inheritdoc cref="Async{T}(string, Func{T}, Func{T, bool}, TimeSpan?, TimeSpan?, StringBuilder?)"/>
    public static async Task<T> Async<T>(string what, Func<Task<T>> read, Func<T, bool> isSo, TimeSpan? timeout = null, TimeSpan? pause = null, StringBuilder? log = null)
    {
        var limit = timeout ?? Timeouts.Eventually;
        using var end = new Patience(limit);
        while (true)
        {
            var value = await read();
            if (isSo(value))
                return value;
            if (end.Token.IsCancellationRequested)
                throw new ShouldAssertException($"Not within {limit.TotalSeconds:0.#} s: {what}. Last seen: {Show(value)}{(log is null ? "" : $"\n{log}")}");
            Heartbeat.Beat();
            await Task.Delay(pause ?? s_pause);
        }
    }

    private static string Show<T>(T value) => value switch
    {
        null => "nothing",
        string text => text,
        System.Collections.IEnumerable items => string.Join("; ", items.Cast<object>()) is { Length: > 0 } list ? list : "an empty list",
        _ => value.ToString() ?? "",
    };
}
