using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Mutation;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab mutate</c>: shows that claims see what is wrong with a service proxy.</summary>
internal static class MutateVerb
{
    internal static Command Create()
    {
        var kernel = KernelOption.CreateOption();
        var kernels = KernelOption.CreateCountOption();
        var filter = new Option<string>("--filter")
        {
            Description = "Mutants by id (mark), ids with a star (set-*), with commas.",
            DefaultValueFactory = _ => "*"
        };
        var list = new Option<bool>("--list") { Description = "Name the mutants, and run none." };
        var quick = new Option<bool>("--quick") { Description = "Run only mutants that a claim has seen before, with those claims." };
        var record = new Option<bool>("--record-killers")
        {
            Description = "Store which claim saw each mutant: the next campaign begins with it.",
            Hidden = true
        };
        var format = Output.CreateOption();
        var verb = new Command("mutate",
            "Put generators with one fault each under test, and see that a claim is violated on every one.")
        {
            kernel, kernels, filter, quick, list, record, format
        };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            var all = await MutantList.MakeAsync(interrupt.Token);
            var words = parsed.GetValue(filter)!.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            foreach (var word in words.Where(w => !all.Any(m => IsMatch(m.Id, w))))
                throw new HarnessException($"There is no mutant '{word}'.",
                    $"There are {all.Count}.{Topologies.Nearest.Hint(word, all.Select(m => m.Id))}", "No mutant was tested.",
                    "./lab mutate --list names all.");
            var mutants = all.Where(m => words.Any(w => IsMatch(m.Id, w))).ToList();
            if (parsed.GetValue(quick))
                mutants.RemoveAll(m => m.Equivalent is null && !MutantList.Killers().ContainsKey(m.Id));
            if (mutants.Count == 0)
            {
                Console.Error.WriteLine("No mutant is selected.");
                return ExitCodes.NothingRan;
            }
            var isJson = parsed.GetValue(format) == Output.Json;
            if (parsed.GetValue(list))
                return List(mutants, isJson);
            var chosen = await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token);
            var filterWords = parsed.GetValue(filter)!;
            var command = $"./lab mutate{(filterWords == "*" ? "" : $" --filter '{filterWords}'")}" +
                (parsed.GetValue(quick) ? " --quick" : "");
            var campaign = new Wanted(command, mutants, chosen, KernelOption.CountOf(parsed.GetValue(kernels)!, chosen, ""),
                parsed.GetValue(quick), parsed.GetValue(record), isJson);
            return await RunAsync(campaign, interrupt.Token);
        });
        return verb;
    }

    private static bool IsMatch(string id, string word) => word.EndsWith('*') ? id.StartsWith(word[..^1], StringComparison.Ordinal)
        : id == word;

    private static int List(List<MutantInfo> mutants, bool isJson)
    {
        if (isJson)
            Console.WriteLine(JsonSerializer.Serialize(mutants, Output.JsonOptions));
        else
        {
            foreach (var mutant in mutants)
                Console.WriteLine($"{mutant.Id}: {mutant.What}{(mutant.Equivalent is null ? "" : $" Equivalent: {mutant.Equivalent}")}");
        }
        return ExitCodes.Ok;
    }

    /// <summary>What the command line says.</summary>
    private sealed record Wanted(string Command, List<MutantInfo> Mutants, LabKernel Kernel, int Kernels, bool IsQuick, bool Records,
        bool IsJson);

    private static async Task<int> RunAsync(Wanted wanted, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        var folder = Runs.Start("mutants");
        var campaign = new Campaign(wanted.Kernel, folder, Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")),
            wanted.IsQuick);
        var ended = 0;
        Console.Error.WriteLine($"{wanted.Mutants.Count} mutants on {wanted.Kernels} kernels ({wanted.Kernel.Name}):");
        var results = await campaign.RunAsync(wanted.Mutants, wanted.Kernels, result => Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Interlocked.Increment(ref ended),4}  {result.Outcome.ToString().ToLowerInvariant(),-10} " +
            $"{result.Seconds,6:0.0} s  {result.Id} {result.KilledBy}")), cancellationToken);
        var report = new MutationReport(DateTimeOffset.UtcNow, Programs.Commit, wanted.Kernel.Name, wanted.Command,
            watch.Elapsed.TotalSeconds, results);
        report.Write(folder);
        if (results.Count == wanted.Mutants.Count)
            report.ToTrustRecord().Write(Runs.Artifacts);
        if (wanted.Records)
            await MutantList.StoreAsync(results, CancellationToken.None);
        Console.WriteLine(wanted.IsJson ? report.ToJson() : report.ToMarkdown());
        if (results.Count < wanted.Mutants.Count)
            Console.Error.WriteLine($"Interrupted: {wanted.Mutants.Count - results.Count} mutants were not tested.");
        Console.Error.WriteLine($"{report.Score}\nResults: {Path.GetRelativePath(Environment.CurrentDirectory, folder)}");
        return cancellationToken.IsCancellationRequested ? ExitCodes.Interrupted
            : report.IsGood ? ExitCodes.Ok : ExitCodes.Violated;
    }
}
