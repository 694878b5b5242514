using Conformance.Linux.Interop;

namespace Conformance.Linux.Processes;

/// <summary>
/// A thread that runs only while nothing else wants the processor (sched(7), SCHED_IDLE): who asks all the time whether something has
/// happened does not delay what is to happen, where there is one processor.
/// </summary>
public static class IdleThread
{
    /// <summary>Runs synchronous work on such a thread.</summary>
    /// <exception cref="KernelException">The thread's policy cannot be changed.</exception>
    public static Task<T> RunAsync<T>(Func<T> work) => Task.Factory.StartNew(() =>
    {
        Enter();
        return work();
    }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static unsafe void Enter()
    {
        var priority = 0; // struct sched_param
        if (Libc.sched_setscheduler(0, Libc.SCHED_IDLE, &priority) != 0)
            throw KernelException.FromErrno("let a thread run only when nothing else does");
    }
}
