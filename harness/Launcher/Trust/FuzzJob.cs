using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Launcher.Trust;

/// <summary>Gives each reader its share of hostile inputs, in a process of its own, as many at a time as there are processors.</summary>
/// <param name="Targets">Readers, by the names of their folders in the corpus.</param>
/// <param name="Inputs">For all of them together.</param>
internal sealed record FuzzJob(IReadOnlyList<string> Targets, int Inputs, int Seed)
{
    private const long MostBytes = 300L << 20;
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web);

    /// <summary>All readers.</summary>
    internal static IReadOnlyList<string> AllTargets => [.. Directory.GetDirectories(
        Path.Combine(ProjectFolder.Root, "harness", "Fuzzing", "corpus")).Select(d => Path.GetFileName(d)!).Order(StringComparer.Ordinal)];

    private static string Program => ProjectFolder.Program("harness/Fuzzing", "Conformance.Fuzzing.dll");

    /// <summary>Runs it, prints what was found, and keeps that for the report.</summary>
    internal async Task<int> RunAsync()
    {
        using var interrupt = new Interrupt();
        var watch = Stopwatch.StartNew();
        var folder = Runs.Start("fuzz");
        var arguments = string.Create(CultureInfo.InvariantCulture, $"--inputs {Inputs} --seed {Seed}") +
            (Targets.Count < AllTargets.Count ? $" --target {string.Join(',', Targets)}" : "");
        Console.Error.WriteLine($"./lab fuzz {arguments}");
        var results = new List<(string Target, string Sentence, bool IsGood)>();
        var options = new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = interrupt.Token };
        try
        {
            await Parallel.ForEachAsync(Targets, options, async (target, stop) =>
            {
                var (sentence, isGood) = await RunAsync(target, folder, stop);
                lock (results)
                    results.Add((target, sentence, isGood));
                Console.WriteLine(sentence);
            });
        }
        catch (OperationCanceledException)
        {
            return ExitCodes.Interrupted;
        }
        var areGood = results.All(r => r.IsGood);
        foreach (var file in Directory.GetFiles(folder, "*.current").Concat(Directory.GetFiles(folder, "*.scratch")))
            File.Delete(file);
        new TrustRecord("fuzz", DateTimeOffset.UtcNow, Programs.Commit, "", $"./lab fuzz {arguments}", areGood, watch.Elapsed.TotalSeconds,
            [.. results.OrderBy(r => r.Target, StringComparer.Ordinal).Select(r => r.Sentence)]).Write(Runs.Artifacts);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{watch.Elapsed.TotalSeconds:0} s. Results: {Path.GetRelativePath(Environment.CurrentDirectory, folder)}"));
        return areGood ? ExitCodes.Ok : ExitCodes.Violated;
    }

    private async Task<(string Sentence, bool IsGood)> RunAsync(string target, string folder, CancellationToken stop)
    {
        var share = Math.Max(1, Inputs / Targets.Count);
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
