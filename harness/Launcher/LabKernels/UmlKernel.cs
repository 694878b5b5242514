using System.Diagnostics;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using CliWrap;
using Conformance.Linux;
using Conformance.Traffic;

namespace Conformance.Launcher.LabKernels;

/// <summary>
/// User-mode Linux: a whole Linux kernel that runs as an ordinary process, without KVM, disk image, or root. It sees
/// this machine's files through an overlay that is thrown away, and writes through to the run's folder only.
/// </summary>
public sealed class UmlKernel(string binary, string name = "uml") : LabKernel
{
    /// <summary>Where Debian's package user-mode-linux puts the kernel.</summary>
    public const string DebianBinary = "/usr/bin/linux.uml";

    /// <summary>Seconds after which a silent guest is ended.</summary>
    internal const string SilenceVariable = "CONFORMANCE_GUEST_SILENCE";

    private const string Memory = "3072M";
    private const long MemoryBytes = 3072L << 20;
    private static readonly TimeSpan s_bootLimit = TimeSpan.FromSeconds(60);

    /// <summary>A kernel halts within 0.1 s of its command's end. One in about 150 was seen to stay: then it is killed.</summary>
    private static readonly TimeSpan s_haltLimit = TimeSpan.FromSeconds(1);

    /// <summary>
    /// The guest tells once a second that it lives. On a machine that has run out of memory or processors for a while it may be
    /// silent for half a minute and still live. A test shortens the time.
    /// </summary>
    private static readonly TimeSpan s_silenceLimit = TimeSpan.FromSeconds(
        int.TryParse(Environment.GetEnvironmentVariable(SilenceVariable), CultureInfo.InvariantCulture, out var seconds) ? seconds : 60);

    private static readonly TimeSpan s_interruptGrace = TimeSpan.FromSeconds(1);

    public override string Name { get; } = name;

    public override async Task<LabResult> RunAsync(LabCommand command, CancellationToken cancellationToken)
    {
        if ((command.RunFolder + Guard.Scripts).Contains(' ', StringComparison.Ordinal))
        {
            throw new LabKernelException("The project's path has a space in it.", command.RunFolder,
                "The user-mode kernel cannot be started: its command line is split at spaces.",
                "Move the project to a path without spaces.", beforeBoot: true);
        }
        var folder = Directory.CreateDirectory(Path.Combine(command.RunFolder, "kernel")).FullName;

        using var guard = new Guard();
        var toGuest = new Pipe();
        var fromGuest = new Pipe();
        var watch = Stopwatch.StartNew();
        var running = guard.Start(Path.Combine(folder, "uml"), Argv(folder), process => process
            .WithEnvironmentVariables(new Dictionary<string, string?>(StringComparer.Ordinal) { ["TMPDIR"] = MemoryFolder() })
            .WithStandardInputPipe(PipeSource.FromStream(toGuest.Reader.AsStream()))
            .WithStandardOutputPipe(PipeTarget.ToStream(fromGuest.Writer.AsStream()))
            .WithValidation(CommandResultValidation.None));

        using var ended = new CancellationTokenSource();
        var line = new GuestLine(toGuest.Writer.AsStream(), fromGuest.Reader.AsStream());
        var pump = line.PumpAsync(ended.Token);
        var output = CompleteWhenEndedAsync(running.Task, fromGuest);
        var booting = new CancellationTokenSource(s_bootLimit);
        await using var bootLimit = booting.Token.Register(guard.Dispose);
        await using var interrupt = cancellationToken.Register(() => _ = InterruptAsync(line, guard));

        using var alive = new Watchdog(s_silenceLimit, guard.Dispose);
        TimeSpan boot = default, exited = default;
        int? exitCode = null;
        string? failure = null;
        TcpRelay? relay = null;
        await foreach (var frame in line.ReadAsync())
        {
            alive.Stop(); // our own output may keep us waiting now
            switch (frame.Type)
            {
                case 'R':
                    _ = SendAsync(line, 'K', new MemoryStream(Encode(command)), ended.Token);
                    break;
                case 'B':
                    boot = watch.Elapsed;
                    booting.CancelAfter(Timeout.Infinite);
                    if (command.Terminal)
                        await line.SendAsync('W', string.Create(CultureInfo.InvariantCulture,
                            $"{Console.WindowHeight} {Console.WindowWidth}"));
                    _ = SendAsync(line, 'I', command.Input, ended.Token);
                    break;
                case 'O':
                    await command.Output.WriteAsync(frame.Payload, cancellationToken);
                    await command.Output.FlushAsync(cancellationToken);
                    break;
                case 'E':
                    await command.Error.WriteAsync(frame.Payload, cancellationToken);
                    await command.Error.FlushAsync(cancellationToken);
                    break;
                case 'C':
                    relay = await TcpRelay.ConnectAsync(command.RelayPort, line, ended.Token);
                    break;
                case 'T':
                    await relay!.WriteAsync(frame.Payload);
                    break;
                case 'X':
                    exited = watch.Elapsed;
                    exitCode = int.Parse(frame.Text, CultureInfo.InvariantCulture);
                    _ = EndAfterAsync(s_haltLimit, guard);
                    break;
                case 'F':
                    failure = frame.Text;
                    break;
            }
            if (boot != default)
                alive.Start();
        }
        await running.Task;
        await output;
        await ended.CancelAsync();
        await toGuest.Writer.CompleteAsync();
        await pump;
        relay?.Dispose();
        booting.Dispose();
        if (Directory.Exists(Path.Combine(folder, "uml")))
            Directory.Delete(Path.Combine(folder, "uml"), recursive: true); // the guard was killed before it could

        cancellationToken.ThrowIfCancellationRequested();
        if (exitCode is not { } code)
            throw Died(folder, failure
                ?? (alive.HasEnded ? $"The guest was silent for {s_silenceLimit.TotalSeconds} s: its first process has ended or its " +
                $"kernel hangs." : null), boot == default);
        return new LabResult(code, new LabTimes(boot, exited - boot, watch.Elapsed - exited));
    }

    private string[] Argv(string folder)
    {
        Directory.CreateDirectory(Path.Combine(folder, "uml"));
        return
        [
            "bash", Path.Combine(Guard.Scripts, "uml.sh"), folder, Processors.LeastUsedByKernels(),
            // by it a run's kernel is known in a list of processes
            binary, $"mem={Memory}", "uml_dir=uml/", $"umid={Path.GetFileName(Path.GetDirectoryName(folder))}",
            "rootfstype=hostfs", "root=none", "ro", "init=/usr/bin/perl",
            "con=null", "con0=null,fd:1", "quiet", "--",
            Path.Combine(Guard.Scripts, "guest-init.pl"),
        ];
    }

    /// <summary>The command as guest-init.pl reads it.</summary>
    private static byte[] Encode(LabCommand command)
    {
        var variables = GuestEnvironment.Read();
        foreach (var (key, value) in command.Variables)
            variables[key] = value;
        IEnumerable<string> fields =
        [
            command.WorkingDirectory, command.RunFolder, command.RelayPort.ToString(CultureInfo.InvariantCulture), command.Terminal
                ? "tty" : "",
            variables.Count.ToString(CultureInfo.InvariantCulture), .. variables.Select(v => $"{v.Key}={v.Value}"), .. command.Argv,
        ];
        return Encoding.UTF8.GetBytes(string.Concat(fields.Select(f => f + '\0')));
    }

    /// <summary>The guest's memory is an unlinked file, on a tmpfs to be fast. Containers often have a small /dev/shm.</summary>
    private static string MemoryFolder() => Directory.Exists("/dev/shm") && new DriveInfo("/dev/shm").AvailableFreeSpace > MemoryBytes
        ? "/dev/shm" : "/tmp";

    private static async Task CompleteWhenEndedAsync(Task guard, Pipe fromGuest)
    {
        try
        {
            await guard;
        }
        finally
        {
            await fromGuest.Writer.CompleteAsync();
        }
    }

    private static async Task SendAsync(GuestLine line, char type, Stream input, CancellationToken cancellationToken)
    {
        try
        {
            await line.SendAllAsync(type, input, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // The command ended before its input did.
        }
    }

    private static async Task InterruptAsync(GuestLine line, Guard guard)
    {
        _ = line.SendAsync('S', "2").AsTask(); // not awaited: a guest that reads nothing must not keep us
        await EndAfterAsync(s_interruptGrace, guard);
    }

    /// <summary>Lets go of the guard, which then kills a kernel that is still there.</summary>
    private static async Task EndAfterAsync(TimeSpan time, Guard guard)
    {
        await Task.Delay(time);
        guard.Dispose();
    }

    private LabKernelException Died(string folder, string? failure, bool beforeBoot)
    {
        var log = Path.Combine(folder, "console.log");
        var said = File.Exists(log)
            ? File.ReadLines(log).FirstOrDefault(l => l.Contains("panic", StringComparison.OrdinalIgnoreCase)) ?? File.ReadLines(log)
                .LastOrDefault()
            : null;
        return new LabKernelException(
            beforeBoot ? $"The lab kernel {binary} did not come up." : $"The lab kernel {binary} ended before its command did.",
            failure ?? said ?? "Its console stayed empty.",
            "The command has no result.",
            $"Read its console, {log}; ./lab doctor checks what it needs.",
            beforeBoot);
    }

    /// <summary>Joins the guest's one connection with a port of this machine.</summary>
    private sealed class TcpRelay(Socket socket) : IDisposable
    {
        internal static async Task<TcpRelay> ConnectAsync(int port, GuestLine line, CancellationToken cancellationToken)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), cancellationToken);
            _ = ReturnAsync(socket, line, cancellationToken);
            return new TcpRelay(socket);
        }

        internal async Task WriteAsync(ReadOnlyMemory<byte> bytes)
        {
            if (bytes.Length == 0)
            {
                socket.Shutdown(SocketShutdown.Send);
                return;
            }
            for (var sent = 0; sent < bytes.Length;)
                sent += await socket.SendAsync(bytes[sent..]);
        }

        public void Dispose() => socket.Dispose();

        private static async Task ReturnAsync(Socket socket, GuestLine line, CancellationToken cancellationToken)
        {
            try
            {
                await using var stream = new NetworkStream(socket, ownsSocket: false);
                await line.SendAllAsync('T', stream, cancellationToken);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
            {
                // One side has closed.
            }
        }
    }
}
