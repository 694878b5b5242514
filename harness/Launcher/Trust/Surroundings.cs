using Conformance.Labs;

namespace Conformance.Launcher.Trust;

/// <summary>
/// What a command could leave on the machine: mounts, control groups, values of the kernel, and files in folders where programs put
/// what they should take away again, or where nothing of a guest may come.
/// </summary>
internal static class Surroundings
{
    private static readonly string[] s_folders =
    [
        "/tmp", "/var/tmp", "/dev/shm", "/run", "/run/netns", "/run/lock", "/", "/dev", "/etc", "/usr", "/usr/bin", "/root",
        Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ProjectFolder.Root,
    ];

    /// <summary>What root of a guest would change to have root of the machine: see proc_sys_kernel(5).</summary>
    private static readonly string[] s_values = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq"];

    private static readonly EnumerationOptions s_deep = new() { RecurseSubdirectories = true, IgnoreInaccessible = true };
    private static readonly EnumerationOptions s_flat = new() { IgnoreInaccessible = true, AttributesToSkip = FileAttributes.None };

    /// <summary>What is there now, a line each.</summary>
    internal static IReadOnlySet<string> Read() => File.ReadLines("/proc/self/mountinfo").Select(l => $"mount {l.Split(' ')[4]}")
        .Concat(Directory.Exists("/sys/fs/cgroup")
            ? Directory.EnumerateDirectories("/sys/fs/cgroup", "*", s_deep).Select(d => $"control group {d}") : [])
        .Concat(s_values.Where(File.Exists).Select(f => $"value {f} = {File.ReadAllText(f).Trim()}"))
        .Concat(s_folders.Distinct(StringComparer.Ordinal).Where(Directory.Exists)
            .SelectMany(d => Directory.EnumerateFileSystemEntries(d, "*", s_flat)).Select(f => $"file {f}"))
        .ToHashSet(StringComparer.Ordinal);
}
