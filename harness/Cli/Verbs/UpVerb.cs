using System.CommandLine;
using CliWrap;
using Conformance.Cli.Kernels;
using Conformance.Cli.Labs;
using Conformance.Harness;
using Conformance.Harness.Labs;
using Conformance.Topologies;
using Command = System.CommandLine.Command;

namespace Conformance.Cli.Verbs;

/// <summary><c>./lab up</c>: a lab and a shell on it, or with --detach a lab that stays until <c>./lab down</c>.</summary>
internal static class UpVerb
{
    /// <summary>Hidden: the process that a detached lab belongs to.</summary>
    private const string HoldOption = "--hold";

    internal static Command Create()
    {
        var topology = new Argument<string>("TOPOLOGY") { Description = "Name of a topology, or path of a .yaml file." };
        var kernel = LabKernels.CreateOption();
        var detach = new Option<bool>("--detach") { Description = "Leave the lab up and return; only on a kernel that lives on (host)." };
        var hold = new Option<bool>(HoldOption) { Hidden = true };
        var verb = new Command("up", "Bring a lab up and open a shell on it; leaving the shell takes it down.") { topology, kernel, detach, hold };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var name = parsed.GetValue(topology)!;
            var parsedTopology = Topology.Load(name); // wrong documents are told before anything is booted
            if (parsed.GetValue(hold))
                return await HoldAsync(parsedTopology, interrupt.Token);
            var labKernel = await LabKernels.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token);
            if (parsed.GetValue(detach))
                return await DetachAsync(labKernel, name, interrupt.Token);
            return labKernel is HostKernel
                ? await ShellAsync(parsedTopology)
                : await KernelVerb.RunAsync(labKernel, [Programs.Dotnet, Programs.Cli, "up", name, "--kernel", "host"], interrupt.Token);
        });
        return verb;
    }

    private static async Task<int> ShellAsync(Topology topology)
    {
        await using var lab = await Lab.StartAsync(topology, capture: false);
        var record = LabRecord.Write(lab);
        try
        {
            Console.Error.WriteLine($"{topology.Name} is up: {string.Join(", ", lab.Nodes)}. Here 'lab exec NODE -- COMMAND', 'lab inspect' and 'lab capture NODE' work; leaving the shell takes it down.");
            return await ForegroundProcess.RunAsync(["bash"], new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                [LabRecord.Variable] = record.File,
                ["PATH"] = $"{RunFolder.ProjectRoot()}:{record.Path}:{Environment.GetEnvironmentVariable("PATH")}",
            });
        }
        finally
        {
            record.Delete();
        }
    }

    private static async Task<int> HoldAsync(Topology topology, CancellationToken cancellationToken)
    {
        await using var lab = await Lab.StartAsync(topology, capture: false);
        var record = LabRecord.Write(lab);
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

    private static async Task<int> DetachAsync(LabKernel kernel, string topology, CancellationToken cancellationToken)
    {
        if (kernel is not HostKernel)
        {
            throw new CannotRunHereException("A detached lab is not possible here.", $"The labs run on {kernel.Name}, which ends with the command that it runs.",
                "Nothing was built.", "Use './lab up TOPOLOGY' and its shell, or a machine whose kernel has IPVS.");
        }
        var before = LabRecord.All().Select(l => l.Id).ToHashSet(StringComparer.Ordinal);
        var log = Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.ProjectRoot(), "artifacts", "labs")).FullName, $"{Environment.ProcessId}.log");
        // A session of its own: it must not get this terminal's Ctrl-C, and its streams must not keep our caller waiting.
        var started = await CliWrap.Cli.Wrap("sh")
            .WithArguments(["-c", "setsid \"$@\" </dev/null >/dev/null 2>\"$0\" & echo $!", log, Programs.Dotnet, Programs.Cli, "up", topology, HoldOption])
            .WithValidation(CommandResultValidation.None)
            .ExecuteAsync(cancellationToken);
        var record = await WaitForRecordAsync(before, log, started.ExitCode, cancellationToken);
        File.Delete(log);
        Console.WriteLine(record.Id);
        return ExitCodes.Ok;
    }

    private static async Task<LabRecord> WaitForRecordAsync(HashSet<string> before, string log, int exitCode, CancellationToken cancellationToken)
    {
        for (var end = Environment.TickCount64 + Timeouts.Command.TotalMilliseconds; Environment.TickCount64 < end && exitCode == 0; await Task.Delay(50, cancellationToken))
        {
            if (LabRecord.All().FirstOrDefault(l => !before.Contains(l.Id)) is { } record)
                return record;
            if (File.Exists(log) && new FileInfo(log).Length > 0)
                break;
        }
        throw new HarnessException("The lab did not come up.", File.Exists(log) ? File.ReadAllText(log).Trim() : "Its process did not start.", "No lab is up.", "See the evidence.");
    }
}
