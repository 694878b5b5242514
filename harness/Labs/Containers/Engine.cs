using System.Globalization;
using CliWrap;
using Conformance.Labs.Waiting;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace Conformance.Labs;

/// <summary>
/// A container engine on this kernel for this process alone: Debian's dockerd, with all its files in memory, without networks of its own.
/// It starts at the first use and ends, with its containers, when this process does, however that ends.
/// </summary>
public sealed class Engine
{
    /// <summary>By it the runtime knows which network namespace a container is to have; see <c>runtime.pl</c>.</summary>
    private const string NamespaceVariable = "CONFORMANCE_NETNS";

    private const string Runtime = "node";

    /// <summary>The engine's folder in its mount namespace; see <c>engine.sh</c>.</summary>
    private const string Folder = "/run/conformance-engine";

    private static readonly Lazy<Task<Engine>> s_current = new(StartAsync);
    private static readonly string s_scripts = Path.Combine(ProjectFolder.Root, "harness", "Labs", "Containers");

    private readonly EngineClient _engine;
    private readonly Dictionary<string, Task> _loaded = new(StringComparer.Ordinal);
    private int _number;

    private Engine(EngineClient engine, string version) => (_engine, Version) = (engine, version);

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
        // A name of ours: it can be removed even if the engine is too slow to tell its own.
        var name = string.Create(CultureInfo.InvariantCulture, $"{node.Name}-{Interlocked.Increment(ref _number)}");
        MultiplexedStream? output = null;
        try
        {
            return await _engine.AskAsync($"A container of {spec.Image.Reference ?? spec.Image.Path} was not started on {node.Name}.",
                "See that the image has the program that its command names; docker run of the same image shows it as well.",
                async (engine, limit) =>
                {
                    await engine.Containers.CreateContainerAsync(Parameters(name, node, spec), limit);
                    output = await engine.Containers.AttachContainerAsync(name, tty: false,
                        new ContainerAttachParameters { Stream = true, Stdout = true, Stderr = true }, limit);
                    await engine.Containers.StartContainerAsync(name, new ContainerStartParameters(), limit);
                    var started = await engine.Containers.InspectContainerAsync(name, limit);
                    return new Container(_engine, name, (int)started.State.Pid, output, said);
                });
        }
        catch
        {
            output?.Dispose();
            await Container.RemoveAsync(_engine, name);
            throw;
        }
    }

    private static CreateContainerParameters Parameters(string name, Node node, ContainerSpec spec) => new()
    {
        Name = name,
        Image = spec.Image.Id,
        Entrypoint = spec.EntryPoint is null ? null : [spec.EntryPoint],
        Cmd = spec.Arguments.Count == 0 ? null : [.. spec.Arguments],
        Env = [.. spec.Variables, $"{NamespaceVariable}={Folder}{node.Namespace.Path}"],
        Hostname = node.Name,
        NetworkDisabled = true, // the engine's own work on a network would take longer than all the rest
        AttachStdout = true,
        AttachStderr = true,
        HostConfig = new HostConfig
        {
            NetworkMode = "none",
            Runtime = Runtime,
            Privileged = spec.IsPrivileged,
            Mounts = [.. spec.Mounts.Select(m => new Mount { Type = "bind", Source = m.Source, Target = m.Target,
                ReadOnly = m.IsReadOnly })],
            LogConfig = new LogConfig { Type = "none" },
        },
    };

    /// <summary>Once for each image, however many wait for it.</summary>
    private Task LoadAsync(ImageFile image)
    {
        lock (_loaded)
        {
            if (!_loaded.TryGetValue(image.Id, out var loaded) || loaded.IsFaulted)
                _loaded[image.Id] = loaded = LoadOnceAsync(image);
            return loaded;
        }
    }

    private Task LoadOnceAsync(ImageFile image) => _engine.AskAsync($"The image {image.Path} was not loaded.",
        "docker load -i FILE shows the same on another machine; write the archive again.", async (engine, limit) =>
        {
            var errors = new Errors();
            await using var stream = await image.OpenAsync();
            await engine.Images.LoadImageAsync(new ImageLoadParameters { Quiet = true }, stream, errors, limit);
            if (errors.Text.Length > 0)
                throw new InvalidDataException(errors.Text);
        });

    private static async Task<Engine> StartAsync()
    {
        var log = new CappedText();
        var pipe = PipeTarget.ToDelegate(line => log.Append($"{line}\n"));
        var stop = new TaskCompletionSource(); // never set once it works: its standard input then ends with this process
        var process = Cli.Wrap("unshare").WithArguments(["--mount", "--propagation", "private", "--", "bash",
            Path.Combine(s_scripts, "engine.sh"), Path.Combine(s_scripts, "runtime.pl")])
            .WithStandardInputPipe(PipeSource.Create((_, _) => stop.Task))
            .WithStandardOutputPipe(pipe).WithStandardErrorPipe(pipe).WithValidation(CommandResultValidation.None).ExecuteAsync();
        // The socket is in a file system that only the engine has mounted.
        var socket = string.Create(CultureInfo.InvariantCulture, $"/proc/{process.ProcessId}/root{Folder}/docker.sock");
        var client = new DockerClientConfiguration(new Uri($"unix://{socket}"), defaultTimeout: Timeout.InfiniteTimeSpan).CreateClient();
        using var limit = new Patience(Timeouts.Start);
        while (true)
        {
            try
            {
                var version = await client.System.GetVersionAsync(limit.Token).WaitAsync(limit.Token);
                return new Engine(new EngineClient(client, process, log), version.Version);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                if (!process.Task.IsCompleted && !limit.Token.IsCancellationRequested)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(50));
                    continue;
                }
                client.Dispose();
                stop.SetResult();
                throw new HarnessException("The container engine did not start.",
                    $"It {(process.Task.IsCompleted ? "ended" : $"did not answer for {Timeouts.Start.TotalSeconds:0} s, and was killed")}" +
                        (log.Tail(5) is { Length: > 0 } said ? $": {said}" : ". It said nothing."), "No container can run on this kernel.",
                    "./lab doctor says what is missing; containers need cgroups and overlayfs, and Debian's packages docker.io and crun.");
            }
        }
    }

    private sealed class Errors : IProgress<JSONMessage>
    {
        internal string Text { get; private set; } = "";

        public void Report(JSONMessage value) => Text += value.ErrorMessage;
    }
}
