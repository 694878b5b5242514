using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Reports;

namespace Conformance.Launcher.Trust;

/// <summary>
/// Gives each reader its share of hostile inputs, in a process of its own, as many at a time as there are processors. Then, on a lab
/// kernel, the stock tools load the documents that are made of hostile manifests.
/// </summary>
/// <param name="Targets">Readers, by the names of their folders in the corpus, and <see cref="Documents"/>.</param>
/// <param name="Inputs">For all readers together.</param>
internal sealed record FuzzJob(IReadOnlyList<string> Targets, int Inputs, int Seed)
{
    /// <summary>The name of what is no reader: what the stock tools load.</summary>
    internal const string Documents = "documents";

    private const long MostBytes = 300L << 20;

    /// <summary>Tools load documents so many times slower than a reader reads.</summary>
    private const int InputsOfDocument = 500;
    private const int LeastDocuments = 80;
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web);

    /// <summary>All readers, and the documents.</summary>
    internal static IReadOnlyList<string> AllTargets => [.. Directory.GetDirectories(Path.Combine(ProjectFolder.Root, "harness", "Fuzzing",
        "corpus")).Select(d => Path.GetFileName(d)!).Order(StringComparer.Ordinal), Documents];

    private IReadOnlyList<string> Readers => [.. Targets.Where(t => t != Documents)];

    private static string Program => ProjectFolder.Program("harness/Fuzzing", "Conformance.Fuzzing.dll");

    /// <summary>Runs it, prints what was found, and keeps that for the report.</summary>
    /// <param name="kernel">For the documents.</param>
    internal async Task<int> RunAsync(string kernel)
    {
        using var interrupt = new Interrupt();
        var watch = Stopwatch.StartNew();
        var chosen = Targets.Contains(Documents, StringComparer.Ordinal) ? await KernelOption.ChooseAsync(kernel, interrupt.Token) : null;
        var folder = Runs.Start("fuzz");
        var arguments = string.Create(CultureInfo.InvariantCulture, $"--inputs {Inputs} --seed {Seed}") +
            (Targets.Count < AllTargets.Count ? $" --target {string.Join(',', Targets)}" : "");
        Console.Error.WriteLine($"./lab fuzz {arguments}");
        var results = new List<(string Target, string Sentence, bool IsGood)>();
        var (loaded, documents) = (ExitCodes.Ok, (IReadOnlyList<string>)[]);
        var options = new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = interrupt.Token };
        try
        {
            await Parallel.ForEachAsync(Readers, options, async (target, stop) =>
            {
                var (sentence, isGood) = await RunAsync(target, folder, stop);
                lock (results)
                    results.Add((target, sentence, isGood));
                Console.WriteLine(sentence);
            });
            if (chosen is not null)
                (loaded, documents) = await LoadAsync(chosen, arguments, folder, interrupt.Token);
            interrupt.Token.ThrowIfCancellationRequested();
        }
        catch (OperationCanceledException)
        {
            return ExitCodes.Interrupted;
        }
        var areGood = results.All(r => r.IsGood) && loaded == ExitCodes.Ok;
        foreach (var file in Directory.GetFiles(folder, "*.current").Concat(Directory.GetFiles(folder, "*.scratch")))
            File.Delete(file);
        new TrustRecord("fuzz", DateTimeOffset.UtcNow, Programs.Commit, chosen?.Name ?? "", $"./lab fuzz {arguments}", areGood,
            watch.Elapsed.TotalSeconds, [.. results.OrderBy(r => r.Target, StringComparer.Ordinal).Select(r => r.Sentence), .. documents])
            .Write(Runs.Artifacts);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{watch.Elapsed.TotalSeconds:0} s. Results: {Path.GetRelativePath(Environment.CurrentDirectory, folder)}"));
        return areGood ? ExitCodes.Ok : ExitCodes.Violated;
    }

    private async Task<(int ExitCode, IReadOnlyList<string> Findings)> LoadAsync(LabKernel kernel, string arguments, string folder,
        CancellationToken stop)
    {
        var (exitCode, findings) = await new KernelJob("fuzz", "HostileDocument", arguments)
        {
            Title = "Loading documents",
            Variables = new Dictionary<string, string>(StringComparer.Ordinal)
            {
                [RunFolder.InputsVariable] = Math.Max(LeastDocuments, Inputs / InputsOfDocument).ToString(CultureInfo.InvariantCulture),
                [RunFolder.SeedVariable] = Seed.ToString(CultureInfo.InvariantCulture),
            },
        }.TestAsync(kernel, folder, stop);
        foreach (var finding in findings)
            Console.WriteLine(finding);
        return (exitCode, findings);
    }

    private async Task<(string Sentence, bool IsGood)> RunAsync(string target, string folder, CancellationToken stop)
    {
        var share = Math.Max(1, Inputs / Readers.Count);
        var ended = await Cli.Wrap(Programs.Dotnet)
            .WithArguments([Program, target, share.ToString(CultureInfo.InvariantCulture), Seed.ToString(CultureInfo.InvariantCulture),
                folder])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(stop);
        if (ended.ExitCode != 0)
            return ($"{target}: the process ended with exit code {ended.ExitCode} on an input, which is kept as {Keep(target, folder)}.\n" +
                $"{FirstLines(ended.StandardError)}", false);
        var result = JsonSerializer.Deserialize<Result>(ended.StandardOutput, s_json)!;
        var isGood = result.Findings.Count == 0 && result.PeakBytes <= MostBytes;
        return (string.Create(CultureInfo.InvariantCulture, $"{target}: {result.Inputs} inputs in {result.Seconds:0} s, " +
            $"{result.PeakBytes >> 20} MiB at most, {result.Findings.Count} findings.") +
            string.Concat(result.Findings.Select(f => $"\n  {f}")), isGood);
    }

    /// <summary>Copies the input that ended the process: its length is before it.</summary>
    private static string Keep(string target, string folder)
    {
        var name = $"finding-{target}-end";
        var file = Path.Combine(folder, $"{target}.current");
        var bytes = File.Exists(file) ? File.ReadAllBytes(file) : new byte[sizeof(int)];
        File.WriteAllBytes(Path.Combine(folder, name), bytes[sizeof(int)..(sizeof(int) + BinaryPrimitives.ReadInt32LittleEndian(bytes))]);
        return name;
    }

    private static string FirstLines(string text) => string.Join('\n', text.Split('\n').Take(12));

    /// <summary>A line of the program's, with the words of its own record.</summary>
    private sealed record Result(int Inputs, double Seconds, long PeakBytes, IReadOnlyList<string> Findings);
}
