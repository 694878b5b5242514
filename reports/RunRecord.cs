using System.Text.Json;

namespace Conformance.Reports;

/// <summary>
/// A run as a whole, stored as <c>run.json</c> by <c>schema/run.schema.json</c>. Each process of the suite writes what it knows into a
/// <c>suite*.json</c> of the same form; the launcher joins them, and adds the selection.
/// </summary>
/// <param name="Run">The name of its folder.</param>
/// <param name="Suite">The version of this project.</param>
/// <param name="Host">The machine's name.</param>
/// <param name="Implementation">What was under test; null when no test of the run has started a proxy.</param>
/// <param name="SupportedFeatures">The features that the implementation declares.</param>
/// <param name="UnsupportedFeatures">The features that it lacks.</param>
/// <param name="DurationMs">From the command's start to its end; null for a run of <c>dotnet test</c>, and for one that did not
/// end.</param>
/// <param name="Command">How to run the same again; null for a run of <c>dotnet test</c>.</param>
/// <param name="Shard">Which shard it is, as 2/3; null for the whole.</param>
/// <param name="Claims">The selected claims, in the catalogue's order. Null when nobody has said so: then those with a record.</param>
/// <param name="CatalogueSize">How many claims the catalogue had.</param>
/// <param name="Faults">What went wrong outside tests: a kernel died, a shard is missing.</param>
public sealed record RunRecord(
    int Schema,
    string Run,
    string Suite,
    string Host,
    DateTimeOffset StartedAt,
    ImplementationRecord? Implementation,
    IReadOnlyList<string> SupportedFeatures,
    IReadOnlyList<string> UnsupportedFeatures,
    KernelRecord? Kernel,
    IReadOnlyDictionary<string, string> Tools,
    double? DurationMs,
    string? Command,
    string? Shard,
    IReadOnlyList<string>? Claims,
    int CatalogueSize,
    IReadOnlyList<string> Faults)
{
    /// <summary>What was observed of the proxy beside its claims, by id.</summary>
    public IReadOnlyList<FactRecord> Facts { get; init; } = [];

    /// <summary>The schema's version. It grows by one with a change that an old reader would misread.</summary>
    public const int CurrentSchema = 1;

    /// <summary>The record's name in the run's folder.</summary>
    public const string FileName = "run.json";

    /// <summary>The files of the suite's processes.</summary>
    public const string SuiteFiles = "suite*.json";

    /// <summary>A run that begins now in a folder.</summary>
    public static RunRecord Of(string runFolder) => new(CurrentSchema, NameOf(runFolder),
        typeof(RunRecord).Assembly.GetName().Version!.ToString(3), Environment.MachineName, DateTimeOffset.UtcNow, null, [], [], null,
        new Dictionary<string, string>(StringComparer.Ordinal), null, null, null, null, 0, []);

    /// <summary>The name of a run: that of its folder.</summary>
    public static string NameOf(string runFolder) => Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(runFolder)));

    /// <exception cref="JsonException">The text is no such record.</exception>
    public static RunRecord Parse(string json) => RecordJson.Read<RunRecord>(json) is { Schema: CurrentSchema } run ? run
        : throw new JsonException($"It is no run record of schema {CurrentSchema}.");

    /// <summary>This record with what the suite's processes know: of several, one that has started a proxy.</summary>
    public RunRecord With(IReadOnlyList<RunRecord> suites) => suites.OrderBy(s => s.Implementation is null)
        .FirstOrDefault() is not { } suite
        ? this : this with
        {
            Implementation = suite.Implementation,
            SupportedFeatures = suite.SupportedFeatures,
            UnsupportedFeatures = suite.UnsupportedFeatures,
            Kernel = suite.Kernel,
            Tools = suite.Tools,
            Facts = [.. suites.SelectMany(s => s.Facts).DistinctBy(f => f.Id, StringComparer.Ordinal)
                .OrderBy(f => f.Id, StringComparer.Ordinal)],
        };

    public string ToJson() => RecordJson.Write(this);

    /// <summary>Writes the record in one step.</summary>
    public void Write(string runFolder, string name = FileName) => WholeFile.Write(Path.Combine(runFolder, name), ToJson());
}
