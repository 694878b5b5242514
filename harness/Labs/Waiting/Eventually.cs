using System.Diagnostics;
using System.Text;
using Shouldly;

namespace Conformance.Labs.Waiting;

/// <summary>Waits for a condition, and says what it last saw when the condition does not come.</summary>
public static class Eventually
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(2);

    /// <returns>The first value that satisfies the condition.</returns>
    /// <exception cref="ShouldAssertException">Names the condition, the last value and the log as it is then.</exception>
    public static Task<T> Async<T>(string what, Func<T> read, Func<T, bool> isSo, TimeSpan? timeout = null, TimeSpan? pause = null,
        StringBuilder? log = null) =>
        Async(what, () => Task.FromResult(read()), isSo, timeout, pause, log);

    /// <inheritdoc cref="Async{T}(string, Func{T}, Func{T, bool}, TimeSpan?, TimeSpan?, StringBuilder?)"/>
    public static async Task<T> Async<T>(string what, Func<Task<T>> read, Func<T, bool> isSo, TimeSpan? timeout = null,
        TimeSpan? pause = null, StringBuilder? log = null)
    {
        var limit = timeout ?? Timeouts.Eventually;
        using var end = new Patience(limit);
        var waiting = Stopwatch.StartNew();
        while (true)
        {
            var value = await read();
            if (isSo(value))
                return value;
            if (end.Token.IsCancellationRequested)
                throw new ShouldAssertException(
                    $"Not within {limit.TotalSeconds:0.#} s: {what}. Last seen: {Show(value)}{(log is null ? "" : $"\n{log}")}");
            Heartbeat.Beat();
            // What asks for minutes asks seldom, or its packets fill the captures of everybody.
            await Task.Delay(TimeSpan.FromTicks(
                Math.Max((pause ?? s_pause).Ticks, Math.Min(waiting.Elapsed.Ticks / 20, s_longestPause.Ticks))));
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
