using System.Diagnostics;
using System.Globalization;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Reports;

namespace Conformance.Launcher.Trust;

/// <summary>A job on a lab kernel whose tests write sentences on what they have found: <c>./lab flows</c>, <c>./lab soak</c>.</summary>
/// <param name="Name">The job's verb.</param>
/// <param name="Tests">The word that selects its tests.</param>
/// <param name="Arguments">Of the command line that repeats it.</param>
internal sealed record KernelJob(string Name, string Tests, string Arguments)
{
    /// <summary>How many kernels it can use.</summary>
    internal int Fixtures { get; init; } = 1;

    /// <summary>The proxy under test; null for the generator.</summary>
    internal string? Proxy { get; init; }

    /// <summary>What is shown while it runs.</summary>
    internal required string Title { get; init; }

    /// <summary>Variables for its tests.</summary>
    internal required IReadOnlyDictionary<string, string> Variables { get; init; }

    /// <summary>Runs it, prints what it has found, and keeps that for the report.</summary>
    internal async Task<int> RunAsync(string kernel)
    {
        using var interrupt = new Interrupt();
        var watch = Stopwatch.StartNew();
        var chosen = await KernelOption.ChooseAsync(kernel, interrupt.Token);
        Console.Error.WriteLine($"./lab {Name} {Arguments} on the kernel {chosen.Name}");
        var (exitCode, findings) = await TestAsync(chosen, Runs.Start(Name), interrupt.Token);
        var repeat = $"./lab {Name} {Arguments}";
        if (!interrupt.Token.IsCancellationRequested)
            new TrustRecord(Name, DateTimeOffset.UtcNow, Programs.Commit, chosen.Name, repeat, exitCode == ExitCodes.Ok,
                watch.Elapsed.TotalSeconds, findings).Write(Runs.Artifacts);
        foreach (var finding in findings)
            Console.WriteLine(finding);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{watch.Elapsed.TotalSeconds:0} s. To repeat it: {repeat}"));
        return exitCode;
    }

    /// <summary>Runs its tests.</summary>
    /// <param name="folder">The run's.</param>
    /// <returns>The exit code, and failures and findings as sentences.</returns>
    internal async Task<(int ExitCode, IReadOnlyList<string> Findings)> TestAsync(LabKernel kernel, string folder, CancellationToken stop)
    {
        var run = new LabRun(kernel, folder)
        {
            Kernels = kernel is HostKernel ? 1 : Math.Min(Fixtures, Environment.ProcessorCount),
            Proxy = Proxy,
            Variables = Variables,
        };
        using var progress = new RunProgress(Title);
        var exitCode = await run.RunAsync(Tests, [Programs.KernelTests], progress.Show, Console.OpenStandardError(), stop);
        return (exitCode, [.. run.Tests.Where(t => !t.IsGood).Select(t => $"{t.Outcome}: {t.Name}\n{t.Message}"), .. run.Faults,
            .. Directory.GetFiles(folder, RunFolder.FindingFiles).Order(StringComparer.Ordinal).SelectMany(File.ReadLines)]);
    }
}
