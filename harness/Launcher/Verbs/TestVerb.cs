using System.CommandLine;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab test</c>: every test of the project; those that need IPVS on a lab kernel.</summary>
internal static class TestVerb
{
    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var filter = new Option<string>("--filter")
        {
            Description = "Claims, or parts of tests' names, with commas.",
            DefaultValueFactory = _ => ""
        };
        var kernels = KernelOption.CreateCountOption();
        var verb = new Command("test", "Run every test of the project.") { kernel, kernels, filter };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            return await RunAsync(parsed.GetValue(kernel)!, parsed.GetValue(kernels)!, parsed.GetValue(filter)!, interrupt.Token);
        });
        return verb;
    }

    private static async Task<int> RunAsync(string kernelName, string kernels, string filter, CancellationToken cancellationToken)
    {
        var labKernel = await KernelOption.ChooseAsync(kernelName, cancellationToken);
        var plain = new LabRun(new HostKernel(confined: false), Runs.Start());
        using var progress = new RunProgress("Testing");
        var kernelTests = new LabRun(labKernel, Runs.Start(suffix: "kerneltests"));
        var suite = new LabRun(labKernel, Runs.Start(suffix: "suite")) { Kernels = KernelOption.CountOf(kernels, labKernel, filter) };
        await RunAsync(suite, Programs.Suite); // on all processors
        // A lab kernel has one processor, and the tests without labs have another. On the host's own kernel they would be each other's
        // load.
        var first = RunAsync(kernelTests, Programs.KernelTests);
        if (labKernel is HostKernel)
            await first;
        await plain.RunAsync(filter, [Programs.Tests], progress.Show, Console.OpenStandardError(), cancellationToken);
        await first;
        progress.Dispose();

        LabRun[] runs = [kernelTests, suite, plain];
        List<RunnerEvent> all = [.. runs.SelectMany(r => r.Tests)];
        foreach (var bad in all.Where(t => !t.IsGood))
            Console.WriteLine($"\n{bad.Outcome}: {bad.Name}\n{bad.Message}\n");
        foreach (var skipped in all.Where(t => t.Outcome == "skipped"))
            Console.WriteLine($"skipped: {skipped.Name}: {skipped.Message}");

        // A filter's word may well select tests in one place only: it is a mistake when it selects none anywhere.
        var nowhere = runs.Select(r => r.UnmatchedWords.AsEnumerable()).Aggregate((a, b) => a.Intersect(b, StringComparer.Ordinal))
            .Select(Output.Unmatched);
        List<string> faults = [.. runs.SelectMany(r => r.Faults), .. nowhere];
        foreach (var fault in faults)
            Console.WriteLine(fault);
        // A runner that died took tests with it: they count as failed.
        var lost = runs.Sum(r => r.Selected) - all.Sum(t => t.Count);
        var passed = all.Count(t => t.Outcome == "passed");
        var skippedCount = all.Count(t => t.Outcome == "skipped");
        var failed = all.Count - passed - skippedCount + lost + (lost == 0 ? faults.Count : 0);
        if (lost > 0)
            Console.WriteLine($"{lost} selected tests have no result.");
        Console.WriteLine($"{passed} passed, {failed} failed, {skippedCount} skipped");
        if (runs.Sum(r => r.Selected) == 0)
            return ExitCodes.NothingRan;
        return failed == 0 ? ExitCodes.Ok : ExitCodes.Violated;

        async Task RunAsync(LabRun run, string assembly)
        {
            await run.RunAsync(filter, [assembly], progress.Show, Console.OpenStandardError(), cancellationToken);
            Console.Error.WriteLine($"Kernel {labKernel.Name}, {Path.GetFileNameWithoutExtension(assembly)}: {run.DescribeTimes()}");
        }
    }
}
