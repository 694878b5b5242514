using System.Net.Sockets;
using System.Runtime.InteropServices;
using Conformance.Linux.Interop;

namespace Conformance.Linux.Namespaces;

/// <summary>
/// Short work of a thread inside a network namespace: two system calls more than the work itself. What the work starts would stay
/// inside, so it starts nothing: no thread, no pool work, no continuation. See <see cref="NetworkNamespace"/>.
/// </summary>
internal static class Visit
{
    private static readonly int s_root;
    private static readonly int s_refusal; // the error with which the kernel refuses to let threads return; 0 where it does not

    /// <summary>The descriptor of the namespace that this thread is in; 0 for the one that the process was started in.</summary>
    [ThreadStatic]
    private static int t_current;

    static Visit()
    {
        // The runtime starts its socket threads with the first socket, and they inherit its namespace: let it start them here.
        new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp).Dispose();
        s_root = NetworkNamespace.OpenFile("/proc/self/ns/net");
        // Root of a user namespace may make network namespaces, and never return to that of its parent.
        s_refusal = Libc.setns(s_root, Libc.CLONE_NEWNET) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Whether this thread is inside a namespace now.</summary>
    internal static bool IsInside => t_current != 0;

    /// <summary>Runs work in the namespace of the descriptor. The thread is back where it was when this returns or throws.</summary>
    internal static T Run<T>(int namespaceFd, Func<T> work)
    {
        var outer = t_current;
        ThrowIfNoReturn();
        Enter(namespaceFd);
        try
        {
            return work();
        }
        finally
        {
            Return(outer);
        }
    }

    /// <summary>Makes a namespace, and opens it.</summary>
    /// <returns>Its descriptor.</returns>
    /// <exception cref="KernelException">CAP_SYS_ADMIN is lacking (EPERM), or there are too many namespaces (ENOSPC).</exception>
    internal static int Create(string name)
    {
        var outer = t_current;
        ThrowIfNoReturn();
        if (Libc.unshare(Libc.CLONE_NEWNET) != 0)
            throw KernelException.FromErrno($"create the network namespace {name}");
        try
        {
            t_current = -1;
            return NetworkNamespace.OpenFile("/proc/thread-self/ns/net");
        }
        finally
        {
            Return(outer);
        }
    }

    private static void ThrowIfNoReturn()
    {
        if (s_refusal != 0)
            throw new KernelException("return to the network namespace that the process was started in", s_refusal);
    }

    private static void Enter(int fd)
    {
        if (fd == t_current)
            return;
        if (Libc.setns(fd == 0 ? s_root : fd, Libc.CLONE_NEWNET) != 0)
            throw KernelException.FromErrno("enter a network namespace");
        t_current = fd;
    }

    private static void Return(int outer)
    {
        try
        {
            Enter(outer);
        }
        catch (KernelException e)
        {
            Environment.FailFast("A thread cannot leave a network namespace: whatever it does next would happen there.", e);
        }
    }
}
