using System.Diagnostics;
using System.Globalization;

namespace Conformance.Labs;

/// <summary>Ends a process with everything that it has started.</summary>
public static class ProcessTree
{
    /// <summary>
    /// Kills the process, and then its children and theirs. The kernel lists them (proc(5), /proc/PID/task/TID/children): .NET reads every
    /// process of the machine instead, which costs a lab kernel more than most tests do.
    /// </summary>
    public static void Kill(int processId)
    {
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
            Kill(child);
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
