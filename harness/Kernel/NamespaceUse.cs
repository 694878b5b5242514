using System.Globalization;
using Conformance.Kernel.Interop;

namespace Conformance.Kernel;

/// <summary>Finds what still holds a network namespace: the threads and sockets of this process, and other processes.</summary>
public static class NamespaceUse
{
    /// <summary>One line for each thread, socket or process that is in one of the namespaces (inode numbers).</summary>
    public static IReadOnlyList<string> HoldersOf(IReadOnlySet<ulong> inodes) =>
        [.. ThreadsWhere(inodes.Contains), .. SocketsIn(inodes), .. ProcessesIn(inodes)];

    /// <summary>One line for each thread of this process that is outside the root namespace.</summary>
    public static IReadOnlyList<string> StrayThreads() => [.. ThreadsWhere(inode => inode != NetworkNamespace.RootInode)];

    private static IEnumerable<string> ThreadsWhere(Func<ulong, bool> matches)
    {
        foreach (var task in Entries("/proc/self/task"))
        {
            var inode = NetworkNamespace.InodeOf($"{task}/ns/net");
            if (inode == 0 || !matches(inode))
                continue;
            // The door's own thread passes through; a thread that stays is seen twice.
            Thread.Yield();
            if (NetworkNamespace.InodeOf($"{task}/ns/net") == inode && Name(task) is var name && name != "namespaces")
                yield return $"thread {Path.GetFileName(task)} ({name}) is in net:[{inode}]";
        }
    }

    private static IEnumerable<string> SocketsIn(IReadOnlySet<ulong> inodes)
    {
        foreach (var file in Entries("/proc/self/fd", files: true))
        {
            string? target;
            try
            {
                target = new FileInfo(file).LinkTarget;
            }
            catch (IOException)
            {
                continue; // closed meanwhile
            }
            if (target is null || !target.StartsWith("socket:", StringComparison.Ordinal))
                continue;
            var fd = int.Parse(Path.GetFileName(file), CultureInfo.InvariantCulture);
            var ns = Libc.ioctl(fd, Libc.SIOCGSKNS, 0);
            if (ns < 0)
                continue;
            var inode = NetworkNamespace.InodeOf($"/proc/self/fd/{ns}");
            _ = Libc.close(ns);
            if (inodes.Contains(inode))
                yield return $"socket {fd} ({target}) is in net:[{inode}]";
        }
    }

    private static IEnumerable<string> ProcessesIn(IReadOnlySet<ulong> inodes)
    {
        foreach (var process in Entries("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), CultureInfo.InvariantCulture, out var pid) || pid == Environment.ProcessId)
                continue;
            var inode = NetworkNamespace.InodeOf($"{process}/ns/net");
            if (inodes.Contains(inode))
                yield return $"process {pid} ({Name(process)}) is in net:[{inode}]";
        }
    }

    private static string Name(string process)
    {
        try
        {
            return File.ReadAllText($"{process}/comm").Trim();
        }
        catch (IOException)
        {
            return "ended";
        }
    }

    private static string[] Entries(string folder, bool files = false)
    {
        try
        {
            return files ? Directory.GetFiles(folder) : Directory.GetDirectories(folder);
        }
        catch (IOException)
        {
            return [];
        }
    }
}
