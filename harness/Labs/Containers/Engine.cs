using System.Globalization;
using System.Net.Sockets;
using System.Text;
using CliWrap;
using Conformance.Labs.Waiting;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace Conformance.Labs;

/// <summary>
/// A container engine on this kernel for this process alone: Debian's dockerd, with all its files in memory, without networks of its own.
/// It starts at the first use. On a lab kernel it ends with the kernel, elsewhere with the PID namespace of the run; the containers end
/// with their labs.
/// </summary>
public sealed class Engine
{
    /// <summary>By it the runtime knows which network namespace a container is to have; see <c>runtime.pl</c>.</summary>
    private const string NamespaceVariable = "CONFORMANCE_NETNS";

    private const string Runtime = "node";

    private static readonly Lazy<Task<Engine>> s_current = new(StartAsync);
    private static readonly string s_scripts = Path.Combine(ProjectFolder.Root, "harness", "Labs", "Containers");

    private readonly IDockerClient _client;
    private readonly Dictionary<string, Task> _loaded = new(StringComparer.Ordinal);

    private Engine(IDockerClient client, string version) => (_client, Version) = (client, version);

    /// <summary>What it says of itself.</summary>
    public string Version { get; }

    /// <summary>The engine, which is started when it is not there yet.</summary>
    /// <exception cref="HarnessException">It did not start.</exception>
    public static Task<Engine> CurrentAsync() => s_current.Value;

    /// <summary>Starts a container in the network of a node.</summary>
    /// <param name="said">Gets what the container writes.</param>
    /// <exception cref="HarnessException">The image cannot be loaded, or its command cannot be started.</exception>
    public async Task<Container> StartAsync(Node node, ContainerSpec spec, Action<string> said)
    {
        await LoadAsync(spec.Image);
        string? id = null;
        try
        {
            using var limit = new Patience(Timeouts.Start);
            id = (await _client.Containers.CreateContainerAsync(Parameters(node, spec), limit.Token)).ID;
            var output = await _client.Containers.AttachContainerAsync(id, tty: false,
                new ContainerAttachParameters { Stream = true, Stdout = true, Stderr = true }, limit.Token);
            await _client.Containers.StartContainerAsync(id, new ContainerStartParameters(), limit.Token);
            var started = await _client.Containers.InspectContainerAsync(id, limit.Token);
            return new Container(_client, id, (int)started.State.Pid, output, said);
        }
        catch (Exception e) when (e is DockerApiException or OperationCanceledException or IOException or HttpRequestException)
        {
            if (id is not null)
                await RemoveAsync(id);
            throw new HarnessException($"A container of {spec.Image.Reference ?? spec.Image.Path} was not started on {node.Name}.",
                Evidence(e), "Nothing runs on that node.",
                "See that the image has the program that its command names; docker run of the same image shows it as well.");
        }
    }

    private static CreateContainerParameters Parameters(Node node, ContainerSpec spec) => new()
    {
        Image = spec.Image.Id,
        Cmd = spec.Arguments.Count == 0 ? null : [.. spec.Arguments],
        Env = [.. spec.Variables, $"{NamespaceVariable}={node.Namespace.Path}"],
        Hostname = node.Name,
        NetworkDisabled = true, // the engine's own work on a network would take longer than all the rest
        AttachStdout = true,
        AttachStderr = true,
        HostConfig = new HostConfig
        {
            NetworkMode = "none",
            Runtime = Runtime,
            Privileged = spec.IsPrivileged,
            ReadonlyRootfs = spec.IsReadOnly,
            CapDrop = spec.Capabilities is null ? null : ["ALL"],
            CapAdd = spec.Capabilities is null ? null : [.. spec.Capabilities],
            Binds = [.. spec.Mounts],
            Tmpfs = spec.IsReadOnly ? new Dictionary<string, string>(StringComparer.Ordinal) { ["/tmp"] = "" } : null,
            LogConfig = new LogConfig { Type = "none" },
        },
    };

    /// <summary>Once for each image, however many wait for it.</summary>
    private Task LoadAsync(ImageFile image)
    {
        lock (_loaded)
        {
            if (!_loaded.TryGetValue(image.Id, out var loaded))
                _loaded[image.Id] = loaded = LoadOnceAsync(image);
            return loaded;
        }
    }

    private async Task LoadOnceAsync(ImageFile image)
    {
        var errors = new StringBuilder();
        try
        {
            await using var stream = await image.OpenAsync();
            await _client.Images.LoadImageAsync(new ImageLoadParameters { Quiet = true }, stream,
                new Said(message => errors.Append(message.ErrorMessage)));
            if (errors.Length == 0)
                return;
        }
        catch (Exception e) when (e is DockerApiException or IOException or HttpRequestException)
        {
            errors.Append(Evidence(e));
        }
        throw new HarnessException($"The image {image.Path} cannot be loaded.", errors.ToString().Trim(), "No container was started.",
            "docker load -i FILE shows the same on another machine; write the archive again.");
    }

    private async Task RemoveAsync(string id)
    {
        try
        {
            await _client.Containers.RemoveContainerAsync(id, new ContainerRemoveParameters { Force = true });
        }
        catch (Exception e) when (e is DockerApiException or IOException or HttpRequestException)
        {
            // The first failure is the one to tell; the engine's end is the container's.
        }
    }

    private static async Task<Engine> StartAsync()
    {
        var log = new StringBuilder();
        var pipe = PipeTarget.ToDelegate(line =>
        {
            lock (log)
                log.Append(line).Append('\n');
        });
        var process = Cli.Wrap("unshare").WithArguments(["--mount", "--propagation", "private", "--", "bash",
            Path.Combine(s_scripts, "engine.sh"), Path.Combine(s_scripts, "runtime.pl")])
            .WithStandardOutputPipe(pipe).WithStandardErrorPipe(pipe).WithValidation(CommandResultValidation.None).ExecuteAsync();
        // The socket is in a file system that only the engine has mounted.
        var socket = string.Create(CultureInfo.InvariantCulture, $"/proc/{process.ProcessId}/root{NodeCommand.ScratchFolder}/docker.sock");
        var client = new DockerClientConfiguration(new Uri($"unix://{socket}"), defaultTimeout: Timeout.InfiniteTimeSpan).CreateClient();
        using var limit = new Patience(Timeouts.Start);
        while (true)
        {
            try
            {
                return new Engine(client, (await client.System.GetVersionAsync(limit.Token)).Version);
            }
            catch (Exception e) when (e is SocketException or HttpRequestException or IOException or DockerApiException
                or OperationCanceledException)
            {
                if (!process.Task.IsCompleted && !limit.Token.IsCancellationRequested)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(50));
                    continue;
                }
                client.Dispose();
                var said = Said(log);
                ProcessTree.Kill(process.ProcessId);
                throw new HarnessException("The container engine did not start.",
                    process.Task.IsCompleted ? $"It ended: {said}" : $"It was killed after {Timeouts.Start.TotalSeconds:0} s: {said}",
                    "No container can run on this kernel.",
                    "./lab doctor says what is missing; containers need cgroups and overlayfs, and Debian's package docker.io.");
            }
        }

        static string Said(StringBuilder log)
        {
            lock (log)
                return string.Join('\n', log.ToString().Trim().Split('\n').TakeLast(5));
        }
    }

    private static string Evidence(Exception e) => e switch
    {
        DockerApiException { ResponseBody: { } body } => body.Trim(),
        OperationCanceledException => $"The engine did not do it within {Timeouts.Start.TotalSeconds:0} s.",
        _ => e.Message,
    };

    private sealed class Said(Action<JSONMessage> handle) : IProgress<JSONMessage>
    {
        public void Report(JSONMessage value) => handle(value);
    }
}
