using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab flows</c>: random flows to random Services, explained before the kernel decides.</summary>
internal static class FlowsVerb
{
    private const string Tests = "RandomFlows";
    private const int Fixtures = 2;

    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var count = new Option<int>("--count")
        {
            Description = "Flows for each of the two states, the generator's own and kube-proxy's.",
            DefaultValueFactory = _ => 5000
        };
        count.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 1)
                result.AddError("--count must be at least 1.");
        });
        var seed = new Option<ulong?>("--seed") { Description = "The seed of an earlier run, which a failure names, to repeat it." };
        var verb = new Command("flows",
            "Send random flows to random Services, and compare what the kernel does with what 'ipvs-generator explain' says.")
        {
            kernel, count, seed
        };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var watch = Stopwatch.StartNew();
            var chosen = await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token);
            var used = parsed.GetValue(seed) ?? (ulong)Random.Shared.NextInt64();
            var folder = Runs.Start("flows");
            var run = new LabRun(chosen, folder)
            {
                Kernels = chosen is HostKernel ? 1 : Math.Min(Fixtures, Environment.ProcessorCount),
                Variables = new Dictionary<string, string>(StringComparer.Ordinal)
                {
                    [RunFolder.FlowsVariable] = parsed.GetValue(count).ToString(CultureInfo.InvariantCulture),
                    [RunFolder.SeedVariable] = used.ToString(CultureInfo.InvariantCulture),
                },
            };
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Seed {used}, kernel {chosen.Name}"));
            using var progress = new RunProgress("Sending flows");
            var exitCode = await run.RunAsync(Tests, [Programs.KernelTests], progress.Show, Console.OpenStandardError(), interrupt.Token);
            progress.Dispose();
            foreach (var bad in run.Tests.Where(t => !t.IsGood))
                Console.WriteLine($"\n{bad.Outcome}: {bad.Name}\n{bad.Message}\n");
            foreach (var fault in run.Faults)
                Console.WriteLine(fault);
            foreach (var summary in Directory.GetFiles(folder, RunFolder.FlowFiles).Order(StringComparer.Ordinal))
                Console.WriteLine((await File.ReadAllTextAsync(summary, interrupt.Token)).TrimEnd());
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{watch.Elapsed.TotalSeconds:0} s. To repeat it: ./lab flows --seed {used} --count {parsed.GetValue(count)}"));
            return exitCode;
        });
        return verb;
    }
}
