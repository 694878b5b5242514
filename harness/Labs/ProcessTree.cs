using System.Diagnostics;
using System.Globalization;
using Conformance.Labs.Waiting;
using Conformance.Linux.Processes;

namespace Conformance.Labs;

/// <summary>Ends a process with everything that it has started.</summary>
public static class ProcessTree
{
    private const int State = 0;
    private const int Threads = 17;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(2);

    /// <summary>
    /// Kills the process, and then its children and theirs. The kernel lists them (proc(5), /proc/PID/task/TID/children): .NET reads every
    /// process of the machine instead, which costs a lab kernel more than most tests do. Each is stopped before: a child that it starts
    /// after the look at the list would be missed.
    /// </summary>
    public static void Kill(int processId) => Kill(processId, []);

    /// <summary>
    /// The same, and waits until they have ended. A process that is killed closes its pipes before its other files: who waits for the end
    /// of its output alone meets its sockets. Where the kernel lists no children, the process alone is waited for; and what does not end
    /// in ten seconds is found by whoever lets its namespace go.
    /// </summary>
    public static async Task EndAsync(int processId)
    {
        var killed = new List<int>();
        Kill(processId, killed);
        using var limit = new Patience(Timeouts.Answer);
        while (killed.Exists(IsAlive) && !limit.Token.IsCancellationRequested)
            await Task.Delay(s_pause);
    }

    private static void Kill(int processId, List<int> killed)
    {
        killed.Add(processId);
        Signals.Stop(processId);
        var children = ChildrenOf(processId);
        try
        {
            using var process = Process.GetProcessById(processId);
            process.Kill(entireProcessTree: children is null);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
            // it has ended
        }
        foreach (var child in children ?? [])
            Kill(child, killed);
    }

    /// <summary>Whether a thread of it runs. One that has ended is a zombie until its parent asks about it.</summary>
    private static bool IsAlive(int processId)
    {
        var file = string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/stat");
        if (Read(() => File.ReadAllText(file)) is not { } stat)
            return false;
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' '); // proc_pid_stat(5): from the state on
        return fields[State] is not ("Z" or "X") || int.Parse(fields[Threads], CultureInfo.InvariantCulture) > 1;
    }

    /// <returns>Null where the kernel does not list them (CONFIG_PROC_CHILDREN).</returns>
    private static List<int>? ChildrenOf(int processId)
    {
        if (!File.Exists("/proc/thread-self/children"))
            return null;
        var children = new List<int>();
        foreach (var task in Read(() => Directory.GetDirectories(string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/task")))
            ?? [])
        {
            var line = Read(() => File.ReadAllText($"{task}/children")) ?? "";
            children.AddRange(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(c => int.Parse(c, CultureInfo.InvariantCulture)));
        }
        return children;
    }

    /// <returns>Null when the process or thread has ended.</returns>
    private static T? Read<T>(Func<T> read) where T : class
    {
        try
        {
            return read();
        }
        catch (IOException)
        {
            return null;
        }
    }
}
