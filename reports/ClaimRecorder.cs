namespace Conformance.Reports;

/// <summary>Gathers what tests saw of claims and keeps one file for each claim up to date. Safe to use from several threads.</summary>
public sealed class ClaimRecorder(
    string runFolder, Catalogue catalogue, KernelRecord kernel, IReadOnlyDictionary<string, string> tools)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, List<TestRecord>> _tests = new(StringComparer.Ordinal);
    private readonly DateTimeOffset _startedAt = DateTimeOffset.UtcNow;

    public string RunFolder { get; } = runFolder;

    /// <summary>Adds a test's result to each claim that it names.</summary>
    /// <exception cref="KeyNotFoundException">The catalogue has no such claim.</exception>
    public void Add(IEnumerable<string> claimIds, TestRecord test)
    {
        lock (_lock)
        {
            foreach (var id in claimIds)
            {
                var claim = catalogue.Claims[id];
                if (!_tests.TryGetValue(id, out var tests))
                    _tests[id] = tests = [];
                tests.Add(test);
                RecordOf(claim, tests).Write(RunFolder);
            }
        }
    }

    private ClaimRecord RecordOf(Claim claim, List<TestRecord> tests) => new(
        ClaimRecord.CurrentSchema, claim.Id, claim.Chapter,
        new ArticleRecord(claim.Article, claim.Zh, claim.En, claim.Correct), claim.Method, [.. tests.SelectMany(t => t.Observed)],
        tests.Max(t => t.Verdict), tests.Sum(t => t.DurationMs), [.. tests],
        kernel, tools, Path.GetFileName(RunFolder), _startedAt);
}
