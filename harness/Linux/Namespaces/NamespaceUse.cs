using System.Globalization;
using Conformance.Linux.Interop;

namespace Conformance.Linux.Namespaces;

/// <summary>Finds what still holds a network namespace: the threads and sockets of this process, and other processes.</summary>
public static class NamespaceUse
{
    private static readonly string[] s_socketTables = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "netlink"];
    private const int VisitMs = 200; // the longest visits start a program, which takes a busy kernel tens of milliseconds

    /// <summary>One line for each thread, socket or process that is in one of the namespaces.</summary>
    public static IReadOnlyList<string> HoldersOf(IReadOnlyCollection<NetworkNamespace> namespaces)
    {
        var inodes = namespaces.Select(ns => ns.Inode).ToHashSet();
        return [.. ThreadsWhere(inodes.Contains), .. SocketsIn(inodes, [.. namespaces.Select(Cookie)]), .. ProcessesIn(inodes)];
    }

    /// <summary>One line for each thread of this process that is outside the root namespace.</summary>
    public static IReadOnlyList<string> StrayThreads() => [.. ThreadsWhere(inode => inode != NetworkNamespace.RootInode)];

    private static IEnumerable<string> ThreadsWhere(Func<ulong, bool> matches)
    {
        foreach (var task in Entries("/proc/self/task"))
        {
            var inode = NetworkNamespace.InodeOf($"{task}/ns/net");
            if (inode == 0 || !matches(inode))
                continue;
            // Threads pass through; one that stays is seen twice.
#pragma warning disable RS0030 // there is no event to wait for
            Thread.Sleep(VisitMs);
#pragma warning restore RS0030
            if (NetworkNamespace.InodeOf($"{task}/ns/net") == inode)
                yield return $"thread {Path.GetFileName(task)} ({Name(task)}) is in net:[{inode}]";
        }
    }

    private static IEnumerable<string> SocketsIn(HashSet<ulong> inodes, HashSet<ulong?> cookies)
    {
        foreach (var file in Entries("/proc/self/fd"))
        {
            var fd = int.Parse(Path.GetFileName(file), CultureInfo.InvariantCulture);
            // A runner has hundreds of sockets of other labs: one question for each of them, where the kernel knows it.
            if (!cookies.Contains(null) && (Cookie(fd) is not { } cookie || !cookies.Contains(cookie)))
                continue;
            var ns = Libc.ioctl(fd, Libc.SIOCGSKNS, 0);
            if (ns < 0)
                continue; // no socket, or closed meanwhile
            var inode = NetworkNamespace.InodeOf($"/proc/self/fd/{ns}");
            var line = inodes.Contains(inode) ? $"socket {fd} ({Describe(file, $"/proc/self/fd/{ns}")}) is in net:[{inode}]" : null;
            _ = Libc.close(ns);
            if (line is not null)
                yield return line;
        }
    }

    /// <summary>The socket's line in the table of its kind (proc(5)): there are its addresses and its state.</summary>
    private static string Describe(string file, string nsPath)
    {
        if (LinkTarget(file) is not { } socket || !socket.StartsWith("socket:", StringComparison.Ordinal))
            return "closed meanwhile";
        var inode = socket["socket:[".Length..^1];
        using var ns = NetworkNamespace.Open(nsPath, nsPath);
        return ns.Run(() => s_socketTables.Select(t => $"/proc/thread-self/net/{t}").Where(File.Exists)
            .SelectMany(t => File.ReadAllLines(t).Where(l => l.Split(' ').Contains(inode, StringComparer.Ordinal))
                .Select(l => $"{Path.GetFileName(t)} {l.Trim()}"))
            .FirstOrDefault()) ?? socket;
    }

    /// <summary>The number by which the kernel knows a namespace; null before Linux 5.14, or when no socket can be opened.</summary>
    private static ulong? Cookie(NetworkNamespace ns) => ns.Run(() =>
    {
        var fd = Libc.socket(Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0);
        var cookie = Cookie(fd);
        _ = Libc.close(fd);
        return cookie;
    });

    /// <summary>The number of a socket's namespace (sk_getsockopt, net/core/sock.c); null for what is no socket.</summary>
    private static unsafe ulong? Cookie(int fd)
    {
        ulong cookie;
        uint length = sizeof(ulong);
        return Libc.getsockopt(fd, Libc.SOL_SOCKET, Libc.SO_NETNS_COOKIE, &cookie, &length) == 0 ? cookie : null;
    }

    private static IEnumerable<string> ProcessesIn(HashSet<ulong> inodes)
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

    private static string? LinkTarget(string file)
    {
        try
        {
            return new FileInfo(file).LinkTarget;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Files and folders alike; nothing of a process that has ended.</summary>
    private static string[] Entries(string folder)
    {
        try
        {
            return Directory.GetFileSystemEntries(folder);
        }
        catch (IOException)
        {
            return [];
        }
    }
}
