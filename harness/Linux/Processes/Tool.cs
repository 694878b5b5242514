using System.Collections;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Conformance.Linux.Interop;

namespace Conformance.Linux.Processes;

/// <summary>How a program ended, and what it printed.</summary>
/// <param name="ExitCode">128 and the signal's number when a signal ended it, as in a shell.</param>
public sealed record ToolResult(int ExitCode, string Output, string Error);

/// <summary>
/// Runs a small program to its end on the calling thread. .NET's own way starts up to six threads for the first process, each of which
/// takes a tick of the clock on user-mode Linux: more than iptables-restore itself. Beside .NET's own way it would lose exit codes: as
/// the first process of a PID namespace, such as in a container, .NET then collects every child that ends. Source: posix_spawn(3), poll(2).
/// </summary>
public static class Tool
{
    private const int StepMs = 100; // between two looks whether it is to stop
    private const int BufferSize = 64 * 1024;
    private const int ENOENT = 2, EINTR = 4, EAGAIN = 11, EACCES = 13, EPIPE = 32;
    private const int ActionsSize = 256; // posix_spawn_file_actions_t has 80 bytes in glibc

    /// <param name="argv">The program, looked up in PATH, and its arguments.</param>
    /// <param name="input">Its standard input; null for none.</param>
    /// <exception cref="KernelException">It cannot be started (ENOENT: there is no such program).</exception>
    /// <exception cref="OperationCanceledException">It was to stop, or ran longer than the limit, and was killed.</exception>
    public static ToolResult Run(IReadOnlyList<string> argv, string? input, TimeSpan limit, CancellationToken stop)
    {
        using var pipes = new Pipes(input is not null);
        var process = Spawn(argv, pipes);
        pipes.CloseFarEnds();
        string output, error;
        try
        {
            (output, error) = Exchange(pipes, Encoding.UTF8.GetBytes(input ?? ""), limit, stop);
        }
        catch
        {
            _ = Libc.kill(process, Libc.SIGKILL);
            Wait(process);
            throw;
        }
        return new ToolResult(Wait(process), output, error);
    }

    private static unsafe int Spawn(IReadOnlyList<string> argv, Pipes pipes)
    {
        var actions = stackalloc byte[ActionsSize];
        _ = Libc.posix_spawn_file_actions_init(actions);
        var arguments = Strings(argv);
        var variables = Strings(Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Select(v => $"{v.Key}={v.Value}"));
        try
        {
            if (pipes.Input.Far >= 0)
                _ = Libc.posix_spawn_file_actions_adddup2(actions, pipes.Input.Far, 0);
            else
                _ = Libc.posix_spawn_file_actions_addopen(actions, 0, "/dev/null", Libc.O_RDONLY, 0);
            _ = Libc.posix_spawn_file_actions_adddup2(actions, pipes.Output.Far, 1);
            _ = Libc.posix_spawn_file_actions_adddup2(actions, pipes.Error.Far, 2);
            fixed (nint* argumentPointer = arguments, variablePointer = variables)
            {
                int process;
                var errno = Libc.posix_spawnp(&process, argv[0], actions, null, argumentPointer, variablePointer);
                if (errno == EACCES && !IsInPath(argv[0]))
                    errno = ENOENT;
                return errno == 0 ? process : throw new KernelException($"start {argv[0]}", errno);
            }
        }
        finally
        {
            _ = Libc.posix_spawn_file_actions_destroy(actions);
            foreach (var text in arguments.Concat(variables))
                Marshal.FreeCoTaskMem(text);
        }
    }

    /// <summary>
    /// execvp(3) says EACCES for a program that is not there as soon as PATH has a folder that the user may not search.
    /// </summary>
    private static bool IsInPath(string program) => program.Contains('/', StringComparison.Ordinal)
        || (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));

    /// <summary>As C has them: zero-terminated, with a null pointer at the end.</summary>
    private static nint[] Strings(IEnumerable<string> texts) => [.. texts.Select(Marshal.StringToCoTaskMemUTF8), 0];

    /// <summary>Writes the input and reads both outputs, in whatever order the program wants it, until both are closed.</summary>
    private static unsafe (string Output, string Error) Exchange(Pipes pipes, byte[] input, TimeSpan limit, CancellationToken stop)
    {
        var watch = Stopwatch.StartNew();
        using var output = new MemoryStream();
        using var error = new MemoryStream();
        var buffer = new byte[BufferSize];
        var written = 0;
        var polled = stackalloc Libc.pollfd[3];
        while (pipes.Output.Near >= 0 || pipes.Error.Near >= 0)
        {
            stop.ThrowIfCancellationRequested();
            if (watch.Elapsed > limit)
                throw new OperationCanceledException($"it ran longer than {limit.TotalSeconds} s");
            if (written == input.Length)
                pipes.Input.CloseNear();
            polled[0] = new Libc.pollfd { fd = pipes.Input.Near, events = Libc.POLLOUT }; // a negative descriptor is ignored
            polled[1] = new Libc.pollfd { fd = pipes.Output.Near, events = Libc.POLLIN };
            polled[2] = new Libc.pollfd { fd = pipes.Error.Near, events = Libc.POLLIN };
            if (Libc.poll(polled, 3, StepMs) <= 0)
                continue;
            if (polled[0].revents != 0)
                written += Write(pipes.Input, input.AsSpan(written));
            if (polled[1].revents != 0)
                Read(pipes.Output, buffer, output);
            if (polled[2].revents != 0)
                Read(pipes.Error, buffer, error);
        }
        return (Encoding.UTF8.GetString(output.GetBuffer(), 0, (int)output.Length),
            Encoding.UTF8.GetString(error.GetBuffer(), 0, (int)error.Length));
    }

    /// <returns>How much was written; all of it where the program has stopped reading: its exit code says why.</returns>
    private static int Write(Pipe pipe, ReadOnlySpan<byte> bytes)
    {
        var count = Libc.write(pipe.Near, bytes, (nuint)Math.Min(bytes.Length, BufferSize));
        return count >= 0 ? (int)count : Marshal.GetLastPInvokeError() switch
        {
            EINTR or EAGAIN => 0,
            EPIPE => bytes.Length,
            _ => throw KernelException.FromErrno("write to a tool"),
        };
    }

    private static unsafe void Read(Pipe pipe, byte[] buffer, MemoryStream target)
    {
        fixed (byte* pointer = buffer)
        {
            var count = Libc.read(pipe.Near, pointer, (nuint)buffer.Length);
            if (count > 0)
                target.Write(buffer, 0, (int)count);
            else if (count == 0 || Marshal.GetLastPInvokeError() is not (EINTR or EAGAIN))
                pipe.CloseNear();
        }
    }

    private static unsafe int Wait(int process)
    {
        int status;
        while (Libc.waitpid(process, &status, 0) < 0)
        {
            if (Marshal.GetLastPInvokeError() != EINTR)
                throw KernelException.FromErrno("wait for a tool");
        }
        return (status & 0x7F) == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F);
    }

    /// <summary>A pipe; the near end is ours.</summary>
    private sealed class Pipe
    {
        internal int Near { get; private set; } = -1;

        internal int Far { get; private set; } = -1;

        internal static unsafe Pipe Open(bool weWrite)
        {
            var ends = stackalloc int[2];
            if (Libc.pipe2(ends, Libc.O_CLOEXEC) != 0)
                throw KernelException.FromErrno("make a pipe");
            var pipe = new Pipe { Near = ends[weWrite ? 1 : 0], Far = ends[weWrite ? 0 : 1] };
            _ = Libc.fcntl(pipe.Near, Libc.F_SETFL, Libc.O_NONBLOCK);
            return pipe;
        }

        internal static Pipe None { get; } = new();

        internal void CloseNear() => Near = Close(Near);

        internal void CloseFar() => Far = Close(Far);

        private static int Close(int fd)
        {
            if (fd >= 0)
                _ = Libc.close(fd);
            return -1;
        }
    }

    private sealed class Pipes(bool hasInput) : IDisposable
    {
        internal Pipe Input { get; } = hasInput ? Pipe.Open(weWrite: true) : Pipe.None;

        internal Pipe Output { get; } = Pipe.Open(weWrite: false);

        internal Pipe Error { get; } = Pipe.Open(weWrite: false);

        internal void CloseFarEnds()
        {
            foreach (var pipe in new[] { Input, Output, Error })
                pipe.CloseFar();
        }

        public void Dispose()
        {
            foreach (var pipe in new[] { Input, Output, Error })
            {
                pipe.CloseNear();
                pipe.CloseFar();
            }
        }
    }
}
