using Conformance.Linux.Interop;

namespace Conformance.Linux.Processes;

/// <summary>Signals that .NET cannot send (signal(7)).</summary>
public static class Signals
{
    /// <summary>Stops all threads of a process (SIGSTOP). One that has ended is no error.</summary>
    public static void Stop(int processId) => _ = Libc.kill(processId, Libc.SIGSTOP);
}
