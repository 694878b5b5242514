using System.Globalization;
using System.Text;
using CliWrap;
using Conformance.Generator.Model;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Ipvs;
using Conformance.Topologies;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// The program as a person or a script calls it, in the namespace of a node: one for each test, with a folder for its input.
/// </summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public abstract class ProgramFixture : IAsyncDisposable
{
    private static readonly string s_program = Path.Combine(AppContext.BaseDirectory, "ipvs-generator");
    private readonly CancellationTokenSource _end = new();
    private Lab _lab = null!;
    private Task _watching = Task.CompletedTask;

    protected Node Node => _lab["node1"];

    /// <summary>Where the input is, and what the program writes.</summary>
    protected string Folder { get; private set; } = null!;

    /// <summary>What a watching program has said.</summary>
    protected StringBuilder Said { get; } = new();

    [SetUp]
    public async Task StartNode()
    {
        _lab = await Lab.StartAsync(Topology.Load("generator-node"), capture: false);
        Folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "program", TestContext.CurrentContext.Test.ID)).FullName;
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await _end.CancelAsync();
        try
        {
            await _watching;
        }
        catch (OperationCanceledException)
        {
            // killed, since the test has ended before it
        }
        _end.Dispose();
        await _lab.DisposeAsync();
    }

    protected NodeCommand Generator(params string[] arguments) => Node.Command([s_program, .. arguments]);

    /// <summary>Starts the program's <c>watch</c> in the folder; it is killed at the end of the test if it has not ended by then.</summary>
    protected CommandTask<CommandResult> Watch(params string[] arguments) => WatchAfter("true", arguments);

    /// <inheritdoc cref="Watch"/>
    /// <param name="shims">See <see cref="Shims"/>.</param>
    protected CommandTask<CommandResult> WatchWith(string shims, params string[] arguments) => WatchAfter($"PATH={shims}:$PATH", arguments);

    /// <inheritdoc cref="Watch"/>
    /// <param name="setUp">What a shell does before it becomes the program.</param>
    protected CommandTask<CommandResult> WatchAfter(string setUp, params string[] arguments)
    {
        // capitals mean the same
        var command = Node.Command(["sh", "-c", $"{setUp}; exec \"$0\" \"$@\"", s_program, "watch", "--hostname-override", "Node1",
            .. arguments]);
        // In its folder, because user-mode Linux's hostfs forgets, and renumbers, a folder that nobody is in: inotify would watch
        // one that no longer is.
        var watching = command.ToCliWrap().WithWorkingDirectory(Folder).WithStandardErrorPipe(PipeTarget.ToStringBuilder(Said))
            .WithValidation(CommandResultValidation.None).ExecuteAsync(_end.Token);
        _watching = watching.Task;
        return watching;
    }

    /// <summary>A folder for the head of PATH in which some programs are a script instead.</summary>
    protected string Shims(string script, params string[] programs)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Folder, "shims")).FullName;
        foreach (var program in programs)
        {
            File.WriteAllText(Path.Combine(folder, program), $"#!/bin/sh\n{script}\n");
            File.SetUnixFileMode(Path.Combine(folder, program), UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }
        return folder;
    }

    protected async Task ServersAsync(params string[] expected) => await Eventually.Async(
        $"virtual servers {string.Join(", ", expected)}", Servers, there => there.SequenceEqual(expected, StringComparer.Ordinal),
            Timeouts.Start, log: Said);

    protected string[] Servers() => [.. (IpvsTable.Read(Node.Namespace)?.VirtualServers ?? []).Select(s => s.EndPoint!.ToString())
        .Order(StringComparer.Ordinal)];

    /// <summary>In one step, as a tool that renders manifests does it.</summary>
    protected void Put(string file, string text)
    {
        File.WriteAllText(Path.Combine(Folder, $".{file}"), text);
        File.Move(Path.Combine(Folder, $".{file}"), Path.Combine(Folder, file), overwrite: true);
    }

    protected static string Service(string name, string address, int port, string type = "type: ClusterIP", int nodePort = 0) => string.Create(CultureInfo.InvariantCulture, $$"""
        ---
        apiVersion: v1
        kind: Service
        metadata: { name: {{name}}, namespace: default }
        spec:
          {{type}}
          clusterIP: {{address}}
          ports:
            - port: {{port}}
              nodePort: {{nodePort}}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: { name: {{name}}-abc, namespace: default, labels: { kubernetes.io/service-name: {{name}} } }
        addressType: IPv4
        ports:
          - { port: 8080, protocol: TCP }
        endpoints:
          - addresses: [10.244.1.7]

        """);
}
