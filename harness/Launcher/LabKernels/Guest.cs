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
/// One boot of a lab kernel with one command: its process behind the guard, the frames that pass over its console line, and the
/// times. See <c>guest-init.pl</c> for the other end of the line.
/// </summary>
internal sealed class Guest : IAsyncDisposable
{
    /// <summary>Seconds after which a silent guest is ended.</summary>
    internal const string SilenceVariable = "CONFORMANCE_GUEST_SILENCE";

    private const long MemoryBytes = 3072L << 20;

    /// <summary>A kernel halts within 0.1 s of its command's end. One in about 150 was seen to stay: then it is killed.</summary>
    private static readonly TimeSpan s_haltLimit = TimeSpan.FromSeconds(1);

    /// <summary>
    /// The guest tells once a second that it lives. On a machine that has run out of memory or processors for a while it may be
    /// silent for half a minute and still live. A test shortens the time.
    /// </summary>
    private static readonly TimeSpan s_silenceLimit = TimeSpan.FromSeconds(
        int.TryParse(Environment.GetEnvironmentVariable(SilenceVariable), CultureInfo.InvariantCulture, out var seconds) ? seconds : 60);

    private static readonly TimeSpan s_interruptGrace = TimeSpan.FromSeconds(1);

    private readonly LabCommand _command;
    private readonly string _folder;
    private readonly Guard _guard = new();
    private readonly Pipe _toGuest = new();
    private readonly Pipe _fromGuest = new();
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly CancellationTokenSource _ended = new();
    private readonly CancellationTokenSource _booting = new();
    private readonly CancellationTokenRegistration _bootLimit;
    private readonly Watchdog _alive;
    private readonly CommandTask<CommandResult> _running;
    private readonly GuestLine _line;
    private readonly Task _pump;
    private readonly Task _output;
    private readonly double _bootSeconds;
    private TcpRelay? _relay;
    private TimeSpan _boot;
    private TimeSpan _exited;
    private int? _exitCode;

    private Guest(LabCommand command, string folder, string[] argv, TimeSpan bootLimit)
    {
        (_command, _folder) = (command, folder);
        _bootSeconds = bootLimit.TotalSeconds;
        _booting.CancelAfter(bootLimit);
        _running = _guard.Start(folder, argv, process => process
            .WithEnvironmentVariables(new Dictionary<string, string?>(StringComparer.Ordinal) { ["TMPDIR"] = MemoryFolder() })
            .WithStandardInputPipe(PipeSource.FromStream(_toGuest.Reader.AsStream()))
            .WithStandardOutputPipe(PipeTarget.ToStream(_fromGuest.Writer.AsStream()))
            .WithValidation(CommandResultValidation.None));
        _line = new GuestLine(_toGuest.Writer.AsStream(), _fromGuest.Reader.AsStream());
        _pump = _line.PumpAsync(_ended.Token);
        _output = CompleteWhenEndedAsync(_running.Task, _fromGuest);
        _bootLimit = _booting.Token.Register(_guard.Dispose);
        _alive = new Watchdog(s_silenceLimit, _guard.Dispose);
    }

    /// <summary>Whether the guest's first process has reported that the command starts.</summary>
    internal bool HasBooted => _boot != default;

    /// <summary>The command's exit code and the times; null when the kernel ended before it.</summary>
    internal LabResult? Result =>
        _exitCode is { } code ? new LabResult(code, new LabTimes(_boot, _exited - _boot, _watch.Elapsed - _exited)) : null;

    /// <summary>Why the guest's first process does not run the command; null when it does, or said nothing.</summary>
    internal string? Refusal { get; private set; }

    /// <summary>Why there is no result, as far as the guest's silence shows it.</summary>
    internal string? Failure => _alive.HasEnded
        ? $"The guest was silent for {s_silenceLimit.TotalSeconds} s: its first process has ended or its kernel hangs."
        : _booting.IsCancellationRequested && !HasBooted ? $"It did not say within {_bootSeconds} s that it is up." : null;

    /// <param name="folder">The folder for the kernel's own files; it is removed at the end.</param>
    /// <param name="bootLimit">Until the command must have begun: a kernel that hangs at boot, or says nothing, is ended.</param>
    internal static Guest Start(LabCommand command, string folder, string[] argv, TimeSpan bootLimit) =>
        new(command, folder, argv, bootLimit);

    /// <summary>Passes input and output until the kernel has ended. Cancelling interrupts the command, and then ends the kernel.</summary>
    internal async Task FollowAsync(CancellationToken cancellationToken)
    {
        await using var interrupt = cancellationToken.Register(() => _ = InterruptAsync());
        await foreach (var frame in _line.ReadAsync())
        {
            _alive.Stop(); // the caller's output may block now
            await HandleAsync(frame, cancellationToken);
            if (HasBooted)
                _alive.Start();
        }
        await _running.Task;
        await _output;
        await _ended.CancelAsync();
        await _toGuest.Writer.CompleteAsync();
        await _pump;
        if (Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true); // the guard was killed before it could
    }

    public async ValueTask DisposeAsync()
    {
        _alive.Dispose();
        _relay?.Dispose();
        await _bootLimit.DisposeAsync();
        _booting.Dispose();
        _ended.Dispose();
        _guard.Dispose();
        _line.Dispose();
    }

    private async Task HandleAsync(Frame frame, CancellationToken cancellationToken)
    {
        switch (frame.Type)
        {
            case 'R': // ready for the command
                _ = SendAsync('K', new MemoryStream(Encode(_command)));
                break;
            case 'B': // the command begins
                _boot = _watch.Elapsed;
                _booting.CancelAfter(Timeout.Infinite);
                if (_command.Terminal)
                    await _line.SendAsync('W', string.Create(CultureInfo.InvariantCulture,
                        $"{Console.WindowHeight} {Console.WindowWidth}"));
                _ = SendAsync('I', _command.Input);
                break;
            case 'O': // stdout
                await _command.Output.WriteAsync(frame.Payload, cancellationToken);
                await _command.Output.FlushAsync(cancellationToken);
                break;
            case 'E': // stderr
                await _command.Error.WriteAsync(frame.Payload, cancellationToken);
                await _command.Error.FlushAsync(cancellationToken);
                break;
            case 'C': // the guest's connection opens
                _relay = await TcpRelay.ConnectAsync(_command.RelayPort, _line, _ended.Token);
                break;
            case 'T': // bytes of the guest's connection
                await _relay!.WriteAsync(frame.Payload);
                break;
            case 'X': // the command has ended
                _exited = _watch.Elapsed;
                _exitCode = int.Parse(frame.Text, CultureInfo.InvariantCulture);
                _ = EndAfterAsync(s_haltLimit);
                break;
            case 'F': // the guest cannot run the command
                Refusal = frame.Text;
                break;
        }
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

    private async Task SendAsync(char type, Stream input)
    {
        try
        {
            await _line.SendAllAsync(type, input, _ended.Token);
        }
        catch (OperationCanceledException)
        {
            // The command ended before its input did.
        }
    }

    private async Task InterruptAsync()
    {
        _ = _line.SendAsync('S', "2").AsTask(); // not awaited: a guest that reads nothing must not keep us
        await EndAfterAsync(s_interruptGrace);
    }

    /// <summary>Lets go of the guard, which then kills a kernel that is still there.</summary>
    private async Task EndAfterAsync(TimeSpan time)
    {
        await Task.Delay(time);
        _guard.Dispose();
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
