using System.Runtime.InteropServices;
using Conformance.Linux.Interop;

namespace Conformance.Linux;

/// <summary>
/// A lock on a folder that says that a process uses it: flock(2). The kernel takes it away when the process ends, however it ends, and
/// unlike process ids it means the same in every PID namespace, so in two containers that share the folder.
/// </summary>
public sealed class FolderLock : IDisposable
{
    private static readonly TimeSpan s_betweenLooks = TimeSpan.FromMilliseconds(100);

    private readonly int _fd;

    private FolderLock(int fd) => _fd = fd;

    /// <summary>Locks a folder as soon as nobody else has the lock.</summary>
    /// <param name="waits">Called once when somebody else has it.</param>
    /// <exception cref="KernelException">There is no such folder, or its file system has no locks.</exception>
    public static async Task<FolderLock> TakeAsync(string folder, Action waits, CancellationToken cancellationToken)
    {
        for (var isFirst = true; ; isFirst = false)
        {
            if (TryTake(folder) is { } taken)
                return taken;
            if (Marshal.GetLastPInvokeError() != Libc.EWOULDBLOCK)
                throw KernelException.FromErrno($"lock {folder}");
            if (isFirst)
                waits();
            await Task.Delay(s_betweenLooks, cancellationToken); // flock(2) itself would wait where nothing can interrupt it
        }
    }

    /// <returns>The lock; null, with the reason in errno, when somebody else has it or the folder is gone.</returns>
    public static FolderLock? TryTake(string folder)
    {
        var fd = Libc.open(folder, Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (fd < 0)
            return null;
        if (Libc.flock(fd, Libc.LOCK_EX | Libc.LOCK_NB) == 0)
            return new FolderLock(fd);
        var errno = Marshal.GetLastPInvokeError();
        _ = Libc.close(fd);
        Marshal.SetLastPInvokeError(errno);
        return null;
    }

    /// <inheritdoc/>
    public void Dispose() => _ = Libc.close(_fd);
}
