using System.Collections;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Conformance.Linux.Interop;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Processes;

/// <summary>How a program ended, and what it printed.</summary>
/// <param name="ExitCode">128 and the signal's number when a signal ended it, as in a shell.</param>
public sealed record ToolResult(int ExitCode, string Output, string Error);

/// <summary>
/// Runs a small program to its end on the calling thread. .NET's own way starts up to six threads for the first process, each of which
/// takes a tick of the clock on user-mode Linux: more than iptables-restore itself. In the first process of a PID namespace, such as of a
/// container, it must not be used beside .NET's own way: there .NET then collects every child that ends, with its exit code. Source:
/// posix_spawn(3), poll(2).
/// </summary>
public static class Tool
{
    private const int StepMs = 100; // between two looks whether it is to stop
    private const int BufferSize = 64 * 1024;
    private const int ENOENT = 2, EINTR = 4, EAGAIN = 11, EPIPE = 32;
    private const int SIGPIPE = 13;
    private const short POSIX_SPAWN_SETPGROUP = 2, POSIX_SPAWN_SETSIGDEF = 4; // spawn.h
    private const int ActionsSize = 256; // posix_spawn_file_actions_t has 80 bytes in glibc
    private const int AttributesSize = 512; // posix_spawnattr_t has 336
    private const int SignalSetSize = 128; // sigset_t

    /// <param name="argv">The program, looked up in PATH, and its arguments.</param>
    /// <param name="input">Its standard input; null for none.</param>
    /// <param name="ns">The network namespace that it is started in; null for this process's own.</param>
    /// <param name="variables">Environment variables that it has beside or instead of this process's.</param>
    /// <param name="kill">Kills the process with this id and all that it has started; null for its process group alone.</param>
    /// <exception cref="StartException">It cannot be started.</exception>
    /// <exception cref="KernelException">Its inputs and outputs cannot be made, or not be used.</exception>
    /// <exception cref="OperationCanceledException">
    /// It was to stop, or ran longer than the limit, and was killed with all that it had started.
    /// </exception>
    public static ToolResult Run(IReadOnlyList<string> argv, string? input, TimeSpan limit, CancellationToken stop,
        NetworkNamespace? ns = null, IReadOnlyDictionary<string, string?>? variables = null, Action<int>? kill = null)
    {
        kill ??= process => _ = Libc.kill(-process, Libc.SIGKILL);
        var environment = Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
            .ToDictionary(v => (string)v.Key, v => (string?)v.Value, StringComparer.Ordinal);
        foreach (var (name, value) in variables ?? new Dictionary<string, string?>(StringComparer.Ordinal))
            environment[name] = value;
        var program = PathOf(argv[0], environment.GetValueOrDefault("PATH") ?? "");
        using var pipes = new Pipes(input is not null);
        var process = Spawn(program, argv, environment, pipes, ns);
        pipes.CloseFarEnds();
        string output, error;
        try
        {
            (output, error) = Exchange(pipes, Encoding.UTF8.GetBytes(input ?? ""), limit, stop);
        }
        catch
        {
            kill(process);
            Wait(process);
            throw;
        }
        int code;
        using (stop.Register(() => kill(process))) // it may run on though its outputs are closed
            code = Wait(process);
        stop.ThrowIfCancellationRequested();
        return new ToolResult(code, output, error);
    }

    /// <summary>
    /// execvp(3) would look it up in this process's PATH, and say EACCES when PATH has a folder that may not be searched.
    /// </summary>
    private static string PathOf(string program, string path) => program.Contains('/', StringComparison.Ordinal) ? program
        : path.Split(':').Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists)
            ?? throw new StartException(program, ENOENT);

    private static unsafe int Spawn(string program, IReadOnlyList<string> argv, Dictionary<string, string?> environment, Pipes pipes,
        NetworkNamespace? ns)
    {
        var actions = stackalloc byte[ActionsSize];
        var attributes = stackalloc byte[AttributesSize];
        _ = Libc.posix_spawn_file_actions_init(actions);
        _ = Libc.posix_spawnattr_init(attributes);
        var arguments = Strings(argv);
        var variables = Strings(environment.Where(v => v.Value is not null).Select(v => $"{v.Key}={v.Value}"));
        try
        {
            if (pipes.Input.Far >= 0)
                _ = Libc.posix_spawn_file_actions_adddup2(actions, pipes.Input.Far, 0);
            else
                _ = Libc.posix_spawn_file_actions_addopen(actions, 0, "/dev/null", Libc.O_RDONLY, 0);
            _ = Libc.posix_spawn_file_actions_adddup2(actions, pipes.Output.Far, 1);
            _ = Libc.posix_spawn_file_actions_adddup2(actions, pipes.Error.Far, 2);
            // A process group of its own, which can be killed as a whole; and SIGPIPE, which .NET ignores, ends it again.
            var signals = stackalloc ulong[SignalSetSize / sizeof(ulong)];
            new Span<ulong>(signals, SignalSetSize / sizeof(ulong)).Clear();
            signals[0] = 1UL << (SIGPIPE - 1);
            _ = Libc.posix_spawnattr_setsigdefault(attributes, signals);
            _ = Libc.posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
            var errno = 0;
            var process = ns is null ? Start() : ns.Run(Start); // nothing else is done inside
            return errno == 0 ? process : throw new StartException(argv[0], errno);

            int Start()
            {
                int started;
                fixed (nint* argumentPointer = arguments, variablePointer = variables)
                    errno = Libc.posix_spawn(&started, program, actions, attributes, argumentPointer, variablePointer);
                return started;
            }
        }
        finally
        {
            _ = Libc.posix_spawn_file_actions_destroy(actions);
            _ = Libc.posix_spawnattr_destroy(attributes);
            foreach (var text in arguments.Concat(variables))
                Marshal.FreeCoTaskMem(text);
        }
    }

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
