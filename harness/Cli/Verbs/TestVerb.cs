using System.CommandLine;
using Conformance.Cli.Kernels;
using Conformance.Cli.Runner;

namespace Conformance.Cli.Verbs;

/// <summary><c>./lab test</c>: every test of the project; those that need IPVS on a lab kernel.</summary>
internal static class TestVerb
{
    internal static Command Create()
    {
        var kernel = LabKernels.CreateOption();
        var filter = new Option<string>("--filter") { Description = "Claims, or parts of tests' names, with commas.", DefaultValueFactory = _ => "" };
        var verb = new Command("test", "Run every test of the project.") { kernel, filter };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            return await RunAsync(parsed.GetValue(kernel)!, parsed.GetValue(filter)!, interrupt.Token);
        });
        return verb;
    }

    private static async Task<int> RunAsync(string kernelName, string filter, CancellationToken cancellationToken)
    {
        var labKernel = await LabKernels.ChooseAsync(kernelName, cancellationToken);
        var plain = new LabRun(new HostKernel(), Runs.Start());
        var inLab = new LabRun(labKernel, Runs.Start(suffix: "lab"));
        using var progress = new Progress("Testing");
        await inLab.RunAsync(filter, [Programs.KernelTests, Programs.Suite], progress.Show, Console.OpenStandardError(), cancellationToken);
        Console.Error.WriteLine($"Kernel {labKernel.Name}: {Output.Times(inLab)}");
        await plain.RunAsync(filter, [Programs.Tests], progress.Show, Console.OpenStandardError(), cancellationToken);
        progress.Dispose();

        List<RunnerEvent> all = [.. inLab.Tests, .. plain.Tests];
        foreach (var bad in all.Where(t => !t.IsGood))
            Console.WriteLine($"\n{bad.Outcome}: {bad.Name}\n{bad.Message}\n");
        foreach (var skipped in all.Where(t => t.Outcome == "skipped"))
            Console.WriteLine($"skipped: {skipped.Name}: {skipped.Message}");

        // A filter's word may well select tests on one side only: it is a mistake when it selects none on either.
        var nowhere = inLab.UnmatchedWords.Intersect(plain.UnmatchedWords, StringComparer.Ordinal).Select(Output.Unmatched);
        List<string> faults = [.. inLab.Faults, .. plain.Faults, .. nowhere];
        foreach (var fault in faults)
            Console.WriteLine(fault);
        // A runner that died took tests with it: they count as failed.
        var lost = inLab.Selected + plain.Selected - all.Sum(t => t.Count);
        var passed = all.Count(t => t.Outcome == "passed");
        var skippedCount = all.Count(t => t.Outcome == "skipped");
        var failed = all.Count - passed - skippedCount + lost + (lost == 0 ? faults.Count : 0);
        if (lost > 0)
            Console.WriteLine($"{lost} selected tests have no result.");
        Console.WriteLine($"{passed} passed, {failed} failed, {skippedCount} skipped");
        if (inLab.Selected + plain.Selected == 0)
            return ExitCodes.NothingRan;
        return failed == 0 ? ExitCodes.Ok : ExitCodes.Violated;
    }
}
