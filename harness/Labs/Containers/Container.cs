using System.Globalization;
using System.Text;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace Conformance.Labs;

/// <summary>What a container is started with.</summary>
/// <param name="Image">Its image.</param>
/// <param name="Arguments">What stands behind its entry point; empty for the image's own.</param>
public sealed record ContainerSpec(ImageFile Image, IReadOnlyList<string> Arguments)
{
    /// <summary>The program that it runs; null for the image's own.</summary>
    public string? EntryPoint { get; init; }

    /// <summary>Environment variables, as NAME=VALUE.</summary>
    public IReadOnlyList<string> Variables { get; init; } = [];

    /// <summary>Files and folders of this machine in the container.</summary>
    public IReadOnlyList<ContainerMount> Mounts { get; init; } = [];

    /// <summary>Whether it may do with the node's network and the kernel what root may.</summary>
    public bool IsPrivileged { get; init; }
}

/// <summary>A file or folder of this machine that a container sees.</summary>
public sealed record ContainerMount(string Source, string Target, bool IsReadOnly = true);

/// <summary>A container that works in the network of a node. Disposing of it kills and removes it.</summary>
public sealed class Container : IAsyncDisposable
{
    private const string Fix = "docker run of the same image on another machine shows whether it is the image.";

    /// <summary>What it wrote before its end may come after the news of its end.</summary>
    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(2);

    private readonly EngineClient _engine;
    private readonly string _id;
    private readonly Lazy<int> _processId;
    private readonly Task<long> _exit;
    private readonly Task _log;
    private readonly Task _ended;
    private int _disposed;

    /// <param name="processId">The number of its first process in the engine's PID namespace.</param>
    /// <param name="said">Gets what it writes, in pieces, of both streams.</param>
    internal Container(EngineClient engine, string id, int processId, MultiplexedStream output, Action<string> said)
    {
        (_engine, _id) = (engine, id);
        _processId = new Lazy<int>(() => ProcessHere(processId));
        _exit = WaitAsync();
        _log = FollowAsync(output, said);
        _ended = Task.WhenAll(_exit, Task.WhenAny(_log, _exit.ContinueWith(_ => Task.Delay(s_lastWords), TaskScheduler.Default).Unwrap()));
    }

    /// <summary>The number of its first process, of which /proc/PID/ns has the container's namespaces; 0 when it has ended.</summary>
    public int ProcessId => _processId.Value;

    /// <summary>Whether it has ended by itself; what it said is there then.</summary>
    public bool HasEnded => _ended.IsCompleted;

    /// <summary>Runs a command in the container, as <c>docker exec</c> does.</summary>
    /// <exception cref="HarnessException">The engine does not run it.</exception>
    public Task<(long ExitCode, string Output)> ExecuteAsync(params string[] command) =>
        _engine.AskAsync($"'{string.Join(' ', command)}' did not run in a container.", Fix, async (engine, limit) =>
        {
            var created = await engine.Exec.ExecCreateContainerAsync(_id,
                new ContainerExecCreateParameters { Cmd = command, AttachStdout = true, AttachStderr = true }, limit);
            using var stream = await engine.Exec.StartAndAttachContainerExecAsync(created.ID, tty: false, limit);
            var (output, error) = await stream.ReadOutputToEndAsync(limit);
            var ended = await engine.Exec.InspectContainerExecAsync(created.ID, limit);
            return (ended.ExitCode, output + error);
        });

    /// <summary>Sends a signal such as SIGTERM to its first process.</summary>
    /// <exception cref="HarnessException">The engine does not send it.</exception>
    public Task SignalAsync(string signal) => _engine.AskAsync($"A container did not get {signal}.", Fix,
        (engine, limit) => engine.Containers.KillContainerAsync(_id, new ContainerKillParameters { Signal = signal }, limit));

    /// <summary>Waits until it has ended, and what it said is there.</summary>
    /// <returns>Its exit code; -1 when the engine went before it.</returns>
    public async Task<long> EndAsync()
    {
        await _ended;
        return await _exit;
    }

    /// <summary>Freezes all its processes (the freezer of cgroups).</summary>
    /// <exception cref="HarnessException">The engine does not freeze it.</exception>
    public Task FreezeAsync() => _engine.AskAsync("A container was not frozen.", Fix,
        (engine, limit) => engine.Containers.PauseContainerAsync(_id, limit));

    /// <summary>Lets its processes go on.</summary>
    /// <exception cref="HarnessException">The engine does not thaw it.</exception>
    public Task ThawAsync() => _engine.AskAsync("A container was not thawed.", Fix,
        (engine, limit) => engine.Containers.UnpauseContainerAsync(_id, limit));

    /// <summary>
    /// Removes it. An engine that does not is the lab's concern, which looks for what is left in its namespaces: the rest is taken down all
    /// the same.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await RemoveAsync(_engine, _id);
        await Task.WhenAny(_log, Task.Delay(s_lastWords));
    }

    /// <summary>Removes a container by id or name; one that is not there does not matter.</summary>
    internal static async Task RemoveAsync(EngineClient engine, string id)
    {
        try
        {
            await engine.AskAsync("A container was not removed.", Fix, (client, limit) => client.Containers.RemoveContainerAsync(id,
                new ContainerRemoveParameters { Force = true, RemoveVolumes = true }, limit));
        }
        catch (HarnessException)
        {
            // it has gone, or goes with its engine
        }
    }

    /// <summary>
    /// The number that a process has here: /proc/PID/status lists the numbers in each namespace, from this one inwards (NSpid of proc(5)).
    /// </summary>
    private static int ProcessHere(int inEngine)
    {
        var inner = inEngine.ToString(CultureInfo.InvariantCulture);
        foreach (var folder in Directory.GetDirectories("/proc").Where(f => char.IsAsciiDigit(f["/proc/".Length])))
        {
            try
            {
                var numbers = File.ReadLines($"{folder}/status").FirstOrDefault(l => l.StartsWith("NSpid:", StringComparison.Ordinal))
                    ?.Split('\t', StringSplitOptions.RemoveEmptyEntries);
                if (inEngine != 0 && numbers is { Length: > 3 } && numbers[2] == inner)
                    return int.Parse(numbers[1], CultureInfo.InvariantCulture);
            }
            catch (IOException)
            {
                // it has ended meanwhile
            }
        }
        return 0;
    }

    private async Task<long> WaitAsync()
    {
        try
        {
            return (await _engine.WaitAsync(engine => engine.Containers.WaitContainerAsync(_id))).StatusCode;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return -1; // the engine has gone, and says no more
        }
    }

    private static async Task FollowAsync(MultiplexedStream output, Action<string> said)
    {
        using (output)
        {
            var buffer = new byte[8192];
            var decoders = new Dictionary<MultiplexedStream.TargetStream, Decoder>();
            try
            {
                while (await output.ReadOutputAsync(buffer, 0, buffer.Length, CancellationToken.None) is { EOF: false } read)
                {
                    if (!decoders.TryGetValue(read.Target, out var decoder))
                        decoders[read.Target] = decoder = Encoding.UTF8.GetDecoder();
                    var text = new char[Encoding.UTF8.GetMaxCharCount(read.Count)];
                    said(new string(text, 0, decoder.GetChars(buffer, 0, read.Count, text, 0)));
                }
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // the engine has gone
            }
        }
    }
}
