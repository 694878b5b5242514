using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Clusters;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Launcher.Imports;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Launcher.Labs;
using Conformance.Linux;
using Conformance.Topologies;
using Command = System.CommandLine.Command;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab up</c>: a lab and a shell on it, or with --detach a lab that stays until <c>./lab down</c>.</summary>
internal static class UpVerb
{
    /// <summary>Hidden: the process that a detached lab belongs to.</summary>
    private const string HoldOption = "--hold";

    /// <summary>Hidden: the folder of an imported state.</summary>
    private const string StateOption = "--state";

    internal static Command Create()
    {
        var topology = new Argument<string>("TOPOLOGY") { Description = "Name of a topology, or path of a .yaml file." };
        topology.CompletionSources.Add(Words.Topologies);
        var kernel = KernelOption.CreateOption();
        var proxy = ProxyOption.Create("Run this proxy on every node that has pods");
        var files = new Option<FileInfo[]>("--filename",
            "-f")
        {
            Description = "With --proxy: files with Services and EndpointSlices, such as topologies/services/article.yaml.",
            DefaultValueFactory = _ => []
        };
        files.AcceptExistingOnly();
        var detach = new Option<bool>("--detach") { Description = "Leave the lab up and return; only on a kernel that lives on (host)." };
        var hold = new Option<bool>(HoldOption) { Hidden = true };
        var state = new Option<string?>(StateOption) { Hidden = true };
        var verb = new Command("up", "Bring a lab up and open a shell on it; leaving the shell takes it down.") { topology, kernel, proxy,
            files, detach, hold, state };
        verb.Validators.Add(result =>
        {
            if (result.GetResult(files) is { Implicit: false } && result.GetResult(proxy) is null)
                result.AddError("--filename needs --proxy: without a proxy nobody programs Services.");
        });
        verb.SetAction(async parsed =>
        {
            var wanted = new Wanted(Topology.Load(parsed.GetValue(topology)!), parsed.GetValue(topology)!, parsed.GetValue(proxy)
                is { } text ? Proxy.Parse(text) : null, [.. parsed.GetValue(files)!.Select(f => f.FullName)], parsed.GetValue(state));
            if (wanted.Proxy is not null && !wanted.Topology.Networks.Any(n => n.Host is not null))
                throw new HarnessException($"The topology {wanted.Topology.Name} has no nodes with pods.",
                    "None of its networks has 'on: NODE'.", "Nothing was built.", "Take the topology cluster, or leave --proxy out.");
            using (var preparing = new Interrupt())
                await PrepareAsync(wanted, preparing.Token);
            var labKernel = await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, CancellationToken.None);
            // Signals end a shell's lab at once, as they end the shell: the namespaces go with the process, and with a
            // command that runs in one of them.
            if (labKernel is HostKernel && !parsed.GetValue(hold) && !parsed.GetValue(detach))
                return await ShellAsync(wanted);
            using var interrupt = new Interrupt();
            if (parsed.GetValue(hold))
                return await HoldAsync(wanted, interrupt.Token);
            return parsed.GetValue(detach)
                ? await DetachAsync(labKernel, wanted, interrupt.Token)
                : await KernelVerb.RunAsync(labKernel, [Programs.Dotnet, Programs.Cli, "up", .. wanted.Arguments, "--kernel", "host"],
                    interrupt.Token);
        });
        return verb;
    }

    /// <summary>Gets images and an engine before a kernel boots for them.</summary>
    private static async Task PrepareAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        await LabRun.PrepareAsync(wanted.Proxy?.Name, cancellationToken);
        foreach (var image in wanted.Topology.Nodes.Select(n => n.Image).OfType<ImageSpec>().Where(i => !i.IsProgram).Distinct())
            await ImageStore.PrepareAsync(image.Source, cancellationToken);
        if (wanted.HasContainers)
            await Need.EnsureAsync(Need.ForContainers, cancellationToken);
    }

    /// <summary>What is to be brought up. Wrong documents and arguments are reported before anything is booted.</summary>
    /// <param name="Source">The topology as it was given.</param>
    /// <param name="State">The folder of an imported state; null for none.</param>
    private sealed record Wanted(Topology Topology, string Source, Proxy? Proxy, IReadOnlyList<string> Files, string? State)
    {
        internal bool HasContainers => Proxy?.NeedsEngine == true || Topology.Nodes.Any(n => n.Image is not null);

        /// <summary>How long it may take until the lab is up.</summary>
        internal TimeSpan Limit => Timeouts.Command + (Proxy?.Patience ?? TimeSpan.Zero) + (HasContainers ? 3 * Timeouts.Start
            : TimeSpan.Zero);

        /// <summary>The same for another call of this verb.</summary>
        internal IEnumerable<string> Arguments => [Source, .. Proxy is null ? Array.Empty<string>() : ["--proxy", Proxy.Name],
            .. Files.SelectMany(f => new[] { "--filename", f }), .. State is null ? Array.Empty<string>() : [StateOption, State]];
    }

    /// <summary>A lab with an imported state, and a shell on it.</summary>
    internal static async Task<int> OpenAsync(LabKernel kernel, string topology, string state)
    {
        var wanted = new Wanted(Topology.Load(topology), topology, null, [], state);
        if (kernel is HostKernel)
            return await ShellAsync(wanted);
        using var interrupt = new Interrupt();
        return await KernelVerb.RunAsync(kernel, [Programs.Dotnet, Programs.Cli, "up", .. wanted.Arguments, "--kernel", "host"],
            interrupt.Token);
    }

    /// <summary>A lab that is up, with what works in it; disposing of it takes everything down.</summary>
    private static async Task<(Lab Lab, IAsyncDisposable Owner)> StartAsync(Wanted wanted)
    {
        var lab = await Lab.StartAsync(wanted.Topology, capture: false, answersHttp: true);
        if (wanted.State is { } state)
        {
            try
            {
                var watch = Stopwatch.StartNew();
                ImportVerb.Report(await ImportedLab.LoadAsync(lab, state), watch.Elapsed);
            }
            catch
            {
                await lab.DisposeAsync();
                throw;
            }
        }
        if (wanted.Proxy is null)
            return (lab, lab);
        _ = await wanted.Proxy.VersionAsync(); // by which its features are known
        var cluster = await Cluster.StartAsync(wanted.Proxy, lab);
        try
        {
            foreach (var file in wanted.Files)
                await cluster.ApplyAsync(await File.ReadAllTextAsync(file));
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
        if (cluster.Unserved.Count > 0)
            Console.Error.WriteLine(
                $"The proxy {wanted.Proxy.Name} does not serve {string.Join(", ", cluster.Unserved)}; it " +
                $"said:\n{string.Concat(cluster.Running.Select(r => r.Log))}");
        return (lab, cluster);
    }

    private static async Task<int> ShellAsync(Wanted wanted)
    {
        var (lab, owner) = await StartAsync(wanted);
        await using var ownership = owner;
        var record = LabRecord.Write(lab, wanted.Source);
        try
        {
            Console.Error.WriteLine(
                $"{wanted.Topology.Name} is up: {string.Join(", ", lab.Nodes)}. Here 'lab exec NODE -- COMMAND', 'lab shell NODE', 'lab " +
                $"inspect', 'lab capture NODE' and 'lab explain NODE TARGET' work; leaving the shell takes it down.");
            return await ForegroundProcess.RunAsync(["bash"], new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                [LabRecord.Variable] = record.File,
                ["CONFORMANCE_PROGRAM"] = Programs.Cli,
                ["PATH"] = $"{ProjectFolder.Root}:{record.Path}:{Environment.GetEnvironmentVariable("PATH")}",
            });
        }
        finally
        {
            record.Delete();
        }
    }

    private static async Task<int> HoldAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        var (lab, owner) = await StartAsync(wanted);
        await using var ownership = owner;
        var record = LabRecord.Write(lab, wanted.Source);
        try
        {
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // ./lab down
        }
        finally
        {
            record.Delete();
        }
        return ExitCodes.Ok;
    }

    private static async Task<int> DetachAsync(LabKernel kernel, Wanted wanted, CancellationToken cancellationToken)
    {
        if (kernel is not HostKernel)
        {
            throw new CannotRunHereException("A detached lab is not possible here.",
                $"The labs run on {kernel.Name}, which ends with the command that it runs.",
                "Nothing was built.", "Use './lab up TOPOLOGY' and its shell, or a machine whose kernel has IPVS.");
        }
        var log = Path.Combine(Directory.CreateDirectory(Path.Combine(ProjectFolder.Root, "artifacts", "labs")).FullName,
            $"{Environment.ProcessId}.log");
        // A session of its own: it must not get this terminal's Ctrl-C, and its streams must not keep our caller waiting.
        var started = await CliWrap.Cli.Wrap("sh")
            .WithArguments(["-c", "setsid \"$@\" </dev/null >/dev/null 2>\"$0\" & echo $!", log, Programs.Dotnet, Programs.Cli, "up",
                .. wanted.Arguments, HoldOption])
            .ExecuteBufferedAsync(CancellationToken.None); // it takes no time, and without its answer nobody could end the holder
        var holder = int.Parse(started.StandardOutput, CultureInfo.InvariantCulture);
        LabRecord? record = null;
        try
        {
            record = await WaitForRecordAsync(holder, wanted.Limit, cancellationToken);
            if (record is null)
                throw new HarnessException("The lab did not come up.", (await File.ReadAllTextAsync(log, cancellationToken)).Trim()
                    is { Length: > 0 } said ? said : $"Its process {holder} left no record.", "No lab is up.", "See the evidence.");
        }
        finally
        {
            if (record is null)
                ProcessTree.Kill(holder); // else it comes up after all
            File.Delete(log);
        }
        Console.WriteLine(record.Id);
        return ExitCodes.Ok;
    }

    /// <returns>Null when its process has ended, or the time has passed.</returns>
    private static async Task<LabRecord?> WaitForRecordAsync(int holder, TimeSpan limit, CancellationToken cancellationToken)
    {
        for (var end = Environment.TickCount64 + limit.TotalMilliseconds; Environment.TickCount64 < end
            && Directory.Exists($"/proc/{holder}"); await Task.Delay(50, cancellationToken))
        {
            if (LabRecord.All().FirstOrDefault(l => l.ProcessId == holder) is { } record)
                return record;
        }
        return null;
    }
}
