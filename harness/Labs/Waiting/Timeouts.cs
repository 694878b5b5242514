using System.Diagnostics;

namespace Conformance.Labs.Waiting;

/// <summary>
/// How long the harness waits for what. All times grow with the slowness of the kernel, which is measured: under QEMU without KVM a
/// process starts ten times as slowly as on user-mode Linux.
/// </summary>
public static class Timeouts
{
    /// <summary>The time that a process takes to start and end on the slowest kernel for which the times below are made.</summary>
    private static readonly TimeSpan s_usualProcess = TimeSpan.FromMilliseconds(40);

    private const int Tries = 3;
    private const double MostTimes = 10;

    /// <summary>How many times as slow as usual this kernel is; 1 where it is not slower.</summary>
    public static double Slowness { get; } = Measure();

    /// <summary>
    /// Until a connection attempt or an unanswered question counts as silence; long enough to see one retransmitted SYN (1 s).
    /// </summary>
    public static TimeSpan Silence { get; } = Scale(2);

    /// <summary>Until a server must have answered on a connection that stands.</summary>
    public static TimeSpan Answer { get; } = Scale(10);

    /// <summary>Until an expected state of a table must be there.</summary>
    public static TimeSpan Eventually { get; } = Scale(5);

    /// <summary>Until a program that was started must have done its first work.</summary>
    public static TimeSpan Start { get; } = Scale(60);

    /// <summary>Until a command in a node must have ended.</summary>
    public static TimeSpan Command { get; } = Scale(30);

    private static TimeSpan Scale(double seconds) => TimeSpan.FromSeconds(seconds * Slowness);

    /// <summary>By the fastest of a few processes: what else the machine does must not count.</summary>
    private static double Measure()
    {
        var best = TimeSpan.MaxValue;
        for (var i = 0; i < Tries; i++)
        {
            var watch = Stopwatch.StartNew();
            CliWrap.Cli.Wrap("/bin/true").ExecuteAsync().Task.Wait();
            best = watch.Elapsed < best ? watch.Elapsed : best;
        }
        return Math.Clamp(best / s_usualProcess, 1, MostTimes);
    }
}
