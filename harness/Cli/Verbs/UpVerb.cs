using System.CommandLine;
using System.Globalization;
using CliWrap;
using CliWrap.Buffered;
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
            var name = parsed.GetValue(topology)!;
            var parsedTopology = Topology.Load(name); // wrong documents are told before anything is booted
            var labKernel = await LabKernels.ChooseAsync(parsed.GetValue(kernel)!, CancellationToken.None);
            // Signals end a shell's lab at once, as they end the shell: the namespaces go with the process.
            if (labKernel is HostKernel && !parsed.GetValue(hold) && !parsed.GetValue(detach))
                return await ShellAsync(parsedTopology, name);
            using var interrupt = new Interrupt();
            if (parsed.GetValue(hold))
                return await HoldAsync(parsedTopology, name, interrupt.Token);
            return parsed.GetValue(detach)
                ? await DetachAsync(labKernel, name, interrupt.Token)
                : await KernelVerb.RunAsync(labKernel, [Programs.Dotnet, Programs.Cli, "up", name, "--kernel", "host"], interrupt.Token);
        });
        return verb;
    }

    private static async Task<int> ShellAsync(Topology topology, string source)
    {
        await using var lab = await Lab.StartAsync(topology, capture: false);
        var record = LabRecord.Write(lab, source);
        try
        {
            Console.Error.WriteLine($"{topology.Name} is up: {string.Join(", ", lab.Nodes)}. Here 'lab exec NODE -- COMMAND', 'lab inspect', 'lab capture NODE' and 'lab explain NODE TARGET' work; leaving the shell takes it down.");
            return await ForegroundProcess.RunAsync(["bash"], new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                [LabRecord.Variable] = record.File,
                ["CONFORMANCE_PROGRAM"] = Programs.Cli,
                ["PATH"] = $"{RunFolder.ProjectRoot()}:{record.Path}:{Environment.GetEnvironmentVariable("PATH")}",
            });
        }
        finally
        {
            record.Delete();
        }
    }

    private static async Task<int> HoldAsync(Topology topology, string source, CancellationToken cancellationToken)
    {
        await using var lab = await Lab.StartAsync(topology, capture: false);
        var record = LabRecord.Write(lab, source);
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
        var log = Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.ProjectRoot(), "artifacts", "labs")).FullName, $"{Environment.ProcessId}.log");
        // A session of its own: it must not get this terminal's Ctrl-C, and its streams must not keep our caller waiting.
        var started = await CliWrap.Cli.Wrap("sh")
            .WithArguments(["-c", "setsid \"$@\" </dev/null >/dev/null 2>\"$0\" & echo $!", log, Programs.Dotnet, Programs.Cli, "up", topology, HoldOption])
            .ExecuteBufferedAsync(cancellationToken);
        var holder = int.Parse(started.StandardOutput, CultureInfo.InvariantCulture);
        var record = await WaitForRecordAsync(holder, log, cancellationToken);
        File.Delete(log);
        Console.WriteLine(record.Id);
        return ExitCodes.Ok;
    }

    private static async Task<LabRecord> WaitForRecordAsync(int holder, string log, CancellationToken cancellationToken)
    {
        for (var end = Environment.TickCount64 + Timeouts.Command.TotalMilliseconds; Environment.TickCount64 < end && Directory.Exists($"/proc/{holder}"); await Task.Delay(50, cancellationToken))
        {
            if (LabRecord.All().FirstOrDefault(l => l.ProcessId == holder) is { } record)
                return record;
        }
        var said = File.ReadAllText(log).Trim();
        File.Delete(log);
        throw new HarnessException("The lab did not come up.", said.Length > 0 ? said : $"Its process {holder} left no record.", "No lab is up.", "See the evidence.");
    }
}
