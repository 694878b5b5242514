using System.Globalization;
using System.Text;
using Conformance.Labs.Waiting;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace Conformance.Labs;

/// <summary>What a container is started with.</summary>
/// <param name="Image">Its image.</param>
/// <param name="Arguments">Its command behind the image's entry point; empty for the image's own.</param>
public sealed record ContainerSpec(ImageFile Image, IReadOnlyList<string> Arguments)
{
    /// <summary>Environment variables, as NAME=VALUE.</summary>
    public IReadOnlyList<string> Variables { get; init; } = [];

    /// <summary>Files and folders of this machine in the container: SOURCE:TARGET or SOURCE:TARGET:ro.</summary>
    public IReadOnlyList<string> Mounts { get; init; } = [];

    /// <summary>Whether it may do with the node's network and the kernel what root may.</summary>
    public bool IsPrivileged { get; init; }

    /// <summary>Capabilities of one that is not privileged, as NET_ADMIN; null for those that engines give.</summary>
    public IReadOnlyList<string>? Capabilities { get; init; }

    /// <summary>Whether its root file system is read-only.</summary>
    public bool IsReadOnly { get; init; }
}

/// <summary>A container that works in the network of a node. Disposing of it kills and removes it.</summary>
public sealed class Container : IAsyncDisposable
{
    private readonly IDockerClient _client;
    private readonly string _id;
    private readonly Action<string> _said;
    private readonly Task<long> _exit;
    private readonly Task _log;
    private int _disposed;

    /// <param name="processId">The number of its first process.</param>
    /// <param name="said">Gets what it writes, in pieces, of both streams.</param>
    internal Container(IDockerClient client, string id, int processId, MultiplexedStream output, Action<string> said)
    {
        (_client, _id, ProcessId, _said) = (client, id, processId, said);
        _exit = WaitAsync();
        _log = FollowAsync(output);
    }

    /// <summary>
    /// The number of its first process, of which /proc/PID/ns has the container's namespaces; 0 when it has ended at once.
    /// </summary>
    public int ProcessId { get; }

    /// <summary>Whether it has ended by itself.</summary>
    public bool HasEnded => _exit.IsCompleted;

    /// <summary>Runs a command in the container, as <c>docker exec</c> does.</summary>
    public async Task<(long ExitCode, string Output)> ExecuteAsync(params string[] command)
    {
        using var limit = new Patience(Timeouts.Command);
        var created = await _client.Exec.ExecCreateContainerAsync(_id,
            new ContainerExecCreateParameters { Cmd = command, AttachStdout = true, AttachStderr = true }, limit.Token);
        using var stream = await _client.Exec.StartAndAttachContainerExecAsync(created.ID, tty: false, limit.Token);
        var (output, error) = await stream.ReadOutputToEndAsync(limit.Token);
        var ended = await _client.Exec.InspectContainerExecAsync(created.ID, limit.Token);
        return (ended.ExitCode, output + error);
    }

    /// <summary>Sends a signal such as SIGTERM to its first process.</summary>
    public Task SignalAsync(string signal) =>
        _client.Containers.KillContainerAsync(_id, new ContainerKillParameters { Signal = signal });

    /// <summary>Waits until it has ended.</summary>
    /// <returns>Its exit code.</returns>
    public Task<long> EndAsync() => _exit;

    /// <summary>Freezes all its processes (the freezer of cgroups).</summary>
    public Task FreezeAsync() => _client.Containers.PauseContainerAsync(_id);

    /// <summary>Lets its processes go on.</summary>
    public Task ThawAsync() => _client.Containers.UnpauseContainerAsync(_id);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        try
        {
            await _client.Containers.RemoveContainerAsync(_id, new ContainerRemoveParameters { Force = true, RemoveVolumes = true });
        }
        catch (DockerContainerNotFoundException)
        {
            // somebody else removed it
        }
        await _log;
    }

    private async Task<long> WaitAsync()
    {
        try
        {
            return (await _client.Containers.WaitContainerAsync(_id)).StatusCode;
        }
        catch (Exception e) when (e is DockerApiException or IOException or HttpRequestException)
        {
            _said(string.Create(CultureInfo.InvariantCulture, $"(the engine no longer follows the container: {e.Message})\n"));
            return -1;
        }
    }

    private async Task FollowAsync(MultiplexedStream output)
    {
        using (output)
        {
            var buffer = new byte[8192];
            try
            {
                while (await output.ReadOutputAsync(buffer, 0, buffer.Length, CancellationToken.None) is { EOF: false } read)
                    _said(Encoding.UTF8.GetString(buffer, 0, read.Count));
            }
            catch (IOException)
            {
                // the engine has gone
            }
        }
    }
}
