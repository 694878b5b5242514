namespace Conformance.Reports;

/// <summary>
/// Keeps one file for each claim up to date with the results of its tests. Safe to use from several threads. Results are kept in
/// the files alone: those of a long run would fill the memory of a small lab kernel.
/// </summary>
public sealed class ClaimRecorder(
    string runFolder, Catalogue catalogue, KernelRecord kernel, IReadOnlyDictionary<string, string> tools)
{
    private readonly Lock _lock = new();
    private readonly HashSet<string> _written = new(StringComparer.Ordinal);
    private readonly DateTimeOffset _startedAt = DateTimeOffset.UtcNow;

    /// <summary>The run's folder, below which the records are.</summary>
    public string RunFolder { get; } = runFolder;

    /// <summary>Adds a test's result to each claim that it names.</summary>
    /// <exception cref="KeyNotFoundException">The catalogue has no such claim.</exception>
    public void Add(IEnumerable<string> claimIds, TestRecord test)
    {
        lock (_lock)
        {
            foreach (var id in claimIds)
            {
                var record = _written.Add(id) ? RecordOf(catalogue.Claims[id])
                    : ClaimRecord.Parse(File.ReadAllText(ClaimRecord.PathOf(RunFolder, id)));
                record.With([.. record.Tests, test]).Write(RunFolder);
            }
        }
    }

    private ClaimRecord RecordOf(Claim claim) => ClaimRecord.Of(claim, catalogue.ChapterOf(claim), kernel, tools,
        Path.GetFileName(RunFolder), _startedAt);
}
