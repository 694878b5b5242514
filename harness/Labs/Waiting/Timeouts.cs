namespace Conformance.Labs.Waiting;

/// <summary>Every time-out of the harness. A lab has no real distances: what has not come by then does not come.</summary>
public static class Timeouts
{
    /// <summary>
    /// Until a connection attempt or an unanswered question counts as silence; long enough to see one retransmitted SYN (1 s).
    /// </summary>
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
