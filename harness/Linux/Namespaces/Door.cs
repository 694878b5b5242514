using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using Conformance.Linux.Interop;

namespace Conformance.Linux.Namespaces;

/// <summary>
/// The one thread that enters namespaces. It is started once, from the root namespace, takes short pieces of work
/// from a queue, enters, works, and is back in the root namespace before the result is returned: so nothing
/// that the result sets free (continuations, pool work) can be born inside.
/// </summary>
internal static class Door
{
    private static readonly Queue<Action> s_queue = []; // BlockingCollection spins before it waits, which costs a single processor a lot
    private static readonly int s_root;
    private static readonly Thread s_thread;
    private static int s_current;

    static Door()
    {
        // The runtime's socket threads are born with the first socket and inherit its namespace: have them now.
        new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp).Dispose();
        s_root = Libc.open("/proc/self/ns/net", Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (s_root < 0)
            throw KernelException.FromErrno("open /proc/self/ns/net");
        s_current = s_root;
        s_thread = new Thread(Serve) { IsBackground = true, Name = "namespaces" };
        s_thread.Start();
    }

    /// <summary>Whether this is the thread that enters namespaces.</summary>
    internal static bool IsCurrent => Thread.CurrentThread == s_thread;

    /// <summary>Runs work in the namespace of the descriptor; in the root namespace for -1, which the work may leave by itself.</summary>
    internal static T Run<T>(int namespaceFd, Func<T> work)
    {
        if (IsCurrent)
            return Inside(namespaceFd, work);

        using var done = new ManualResetEventSlim(initialState: false, spinCount: 0);
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        Enqueue(() =>
        {
            try
            {
                result = Inside(namespaceFd, work);
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
            done.Set();
        });
        done.Wait();
        failure?.Throw();
        return result;
    }

    private static T Inside<T>(int namespaceFd, Func<T> work)
    {
        var outer = s_current;
        Enter(namespaceFd < 0 ? s_root : namespaceFd);
        try
        {
            return work();
        }
        finally
        {
            s_current = -1; // the work may have unshared: come back in any case
            Enter(outer);
        }
    }

    private static void Enter(int fd)
    {
        if (fd == s_current)
            return;
        if (Libc.setns(fd, Libc.CLONE_NEWNET) != 0)
            throw KernelException.FromErrno("enter a network namespace");
        s_current = fd;
    }

    private static void Serve()
    {
        while (true)
            Dequeue()();
    }

    private static void Enqueue(Action work)
    {
        lock (s_queue)
        {
            s_queue.Enqueue(work);
            Monitor.Pulse(s_queue);
        }
    }

    private static Action Dequeue()
    {
        lock (s_queue)
        {
            while (s_queue.Count == 0)
                Monitor.Wait(s_queue);
            return s_queue.Dequeue();
        }
    }
}
