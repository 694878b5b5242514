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
        try
        {
            return !File.Exists("/proc/thread-self/children") ? null
                : [.. Directory.GetDirectories(string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/task"))
                    .SelectMany(task => File.ReadAllText($"{task}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries))
                    .Select(child => int.Parse(child, CultureInfo.InvariantCulture))];
        }
        catch (IOException)
        {
            return []; // it has ended
        }
    }
}
