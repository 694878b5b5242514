using System.Runtime.InteropServices;
using Conformance.Linux.Interop;

namespace Conformance.Linux;

/// <summary>
/// A lock on a folder that says that a process uses it: flock(2). The kernel takes it away when the process ends, however it ends, and
/// unlike process ids it means the same in every PID namespace, so in two containers that share the folder.
/// </summary>
public sealed class FolderLock : IDisposable
{
    private readonly int _fd;

    private FolderLock(int fd) => _fd = fd;

    /// <summary>Locks a folder as soon as nobody else has the lock.</summary>
    /// <exception cref="KernelException">There is no such folder, or its file system has no locks.</exception>
    public static FolderLock Take(string folder) => Lock(folder, Libc.LOCK_EX) ?? throw KernelException.FromErrno($"lock {folder}");

    /// <returns>The lock; null when somebody else has it, or the folder is gone.</returns>
    public static FolderLock? TryTake(string folder) => Lock(folder, Libc.LOCK_EX | Libc.LOCK_NB);

    /// <inheritdoc/>
    public void Dispose() => _ = Libc.close(_fd);

    /// <returns>Null, with the reason in errno, when it could not be had.</returns>
    private static FolderLock? Lock(string folder, int operation)
    {
        var fd = Libc.open(folder, Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (fd < 0)
            return null;
        if (Libc.flock(fd, operation) == 0)
            return new FolderLock(fd);
        var errno = Marshal.GetLastPInvokeError();
        _ = Libc.close(fd);
        Marshal.SetLastPInvokeError(errno);
        return null;
    }
}
