using System.Text.Json;
using System.Text.RegularExpressions;

namespace Conformance.Reports;

/// <summary>A run's folder, read: every report is made of this.</summary>
/// <param name="Folder">The full path of the run's folder.</param>
/// <param name="Claims">A record for each claim of the run. A claim whose record is missing or damaged is broken.</param>
/// <param name="Faults">Records that are missing or damaged, each with its reason.</param>
public sealed partial record RunResults(string Folder, RunRecord Run, IReadOnlyList<ClaimRecord> Claims, IReadOnlyList<string> Faults)
{
    private const string NoRecord = "Claims without a readable record";

    /// <summary>Whether the run passes: it has claims, no fault, nothing broken, and what is violated is provisional.</summary>
    public bool IsGood => Claims.Count > 0 && Faults.Count == 0
        && !Claims.Any(c => c.Verdict.IsBad() && !(c.Provisional && c.Verdict == Verdict.Violated));

    /// <summary>The kernel of the run.</summary>
    public KernelRecord? Kernel => Run.Kernel ?? Claims.FirstOrDefault(c => c.Tests.Count > 0)?.Kernel;

    /// <summary>What was under test in the run's tests, each once.</summary>
    public IReadOnlyList<ImplementationRecord> Implementations =>
        [.. Claims.SelectMany(c => c.Tests).Select(t => t.Implementation).Distinct().OrderBy(i => i.Name, StringComparer.Ordinal)];

    /// <summary>Whether a folder holds a run.</summary>
    public static bool IsRun(string folder) => File.Exists(Path.Combine(folder, RunRecord.FileName))
        || Directory.Exists(ClaimRecord.Folder(folder));

    /// <summary>Reads a run's folder. Damaged records become faults.</summary>
    /// <param name="run">The run's record, where the caller has it; null to read it.</param>
    public static RunResults Load(string folder, RunRecord? run = null)
    {
        var faults = new List<string>();
        var records = ReadClaims(folder, faults);
        run ??= ReadRun(folder, records.Values, faults);
        faults.AddRange(run.Faults);
        var selected = (run.Claims ?? []).Where(IsId).Distinct(StringComparer.Ordinal).ToList();
        foreach (var id in selected.Where(id => !records.ContainsKey(id)))
        {
            if (!faults.Exists(f => f.StartsWith($"{id}.json", StringComparison.Ordinal)))
                faults.Add($"{id}.json is missing.");
            records[id] = Missing(id, run);
        }
        var order = selected.Select((id, index) => (id, index)).ToDictionary(o => o.id, o => o.index, StringComparer.Ordinal);
        return new RunResults(Path.GetFullPath(folder), run,
            [.. records.Values.OrderBy(r => order.GetValueOrDefault(r.Id, int.MaxValue)).ThenBy(r => r.Chapter.Number)
                .ThenBy(r => r.Id.Length).ThenBy(r => r.Id, StringComparer.Ordinal)],
            faults);
    }

    /// <summary>A run's record with what the suite's processes have written into its folder.</summary>
    public static RunRecord Join(string folder, RunRecord run) => WithSuites(folder, run, []);

    /// <summary>How many claims have a verdict.</summary>
    public int Count(Verdict verdict) => Claims.Count(c => c.Verdict == verdict);

    /// <summary>All counts in words: <c>393 holds, 0 not-supported, …</c>.</summary>
    public string CountsInWords() => string.Join(", ", Enum.GetValues<Verdict>().Select(v => $"{Count(v)} {v.Word()}"));

    private static RunRecord ReadRun(string folder, IEnumerable<ClaimRecord> claims, List<string> faults)
    {
        var path = Path.Combine(folder, RunRecord.FileName);
        if (File.Exists(path))
        {
            if (Read(path, RunRecord.Parse, faults) is { } run)
                return run.Kernel is null ? WithSuites(folder, run, faults) : run;
        }
        else
        {
            faults.Add($"{RunRecord.FileName} is missing: the selection is unknown, so a claim without a record is not listed.");
        }
        return WithSuites(folder, RunRecord.Of(folder) with
        {
            StartedAt = claims.Select(c => c.StartedAt).DefaultIfEmpty(DateTimeOffset.UnixEpoch).Min()
        }, faults);
    }

    private static RunRecord WithSuites(string folder, RunRecord run, List<string> faults) =>
        run.With([.. Files(folder, RunRecord.SuiteFiles).Select(f => Read(f, RunRecord.Parse, faults)).OfType<RunRecord>()]);

    private static Dictionary<string, ClaimRecord> ReadClaims(string folder, List<string> faults)
    {
        var records = new Dictionary<string, ClaimRecord>(StringComparer.Ordinal);
        foreach (var file in Files(ClaimRecord.Folder(folder), "*.json"))
        {
            if (Read(file, ClaimRecord.Parse, faults) is not { } record)
                continue;
            if (IsId(record.Id) && Path.GetFileName(file) == $"{record.Id}.json")
                records[record.Id] = record;
            else
                faults.Add($"{Path.GetFileName(file)} cannot be read: it is the record of '{record.Id}'.");
        }
        return records;
    }

    private static IEnumerable<string> Files(string folder, string pattern) => Directory.Exists(folder)
        ? Directory.GetFiles(folder, pattern).Order(StringComparer.Ordinal) : [];

    /// <summary>Ids become names of files and anchors of pages.</summary>
    private static bool IsId(string id) => Id().IsMatch(id);

    [GeneratedRegex(@"^[A-Z]+-[0-9A-Z]+\z", RegexOptions.None, 1000)]
    private static partial Regex Id();

    private static T? Read<T>(string path, Func<string, T> parse, List<string> faults) where T : class
    {
        try
        {
            return parse(File.ReadAllText(path));
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            faults.Add($"{Path.GetFileName(path)} cannot be read: {e.Message}");
            return null;
        }
    }

    private static ClaimRecord Missing(string id, RunRecord run) => new(ClaimRecord.CurrentSchema, id,
        new ChapterRecord("no-record", int.MaxValue, NoRecord), "", [], false, new ArticleRecord(ArticleVerdict.Silent, "", "", null), "",
        [], Verdict.Broken, 0, [], run.Kernel ?? new KernelRecord("", ""), run.Tools, run.Run, run.StartedAt);
}
