using System.Text.Encodings.Web;
using System.Text.Json;

namespace Conformance.Reports;

/// <summary>A run as a whole, stored as <c>run.json</c> by <c>schema/run.schema.json</c>.</summary>
/// <param name="Run">The name of its folder.</param>
/// <param name="Implementation">What was under test; null when no test of the run has started a proxy.</param>
/// <param name="SupportedFeatures">The features that the implementation declares.</param>
/// <param name="UnsupportedFeatures">The features that it lacks.</param>
/// <param name="DurationMs">From the command's start to its end; null for a run of <c>dotnet test</c>.</param>
/// <param name="Command">How to run the same again; null for a run of <c>dotnet test</c>.</param>
/// <param name="Claims">The selected claims, in the catalogue's order. Null when nobody has said so: then those with a record.</param>
public sealed record RunRecord(
    int Schema,
    string Run,
    DateTimeOffset StartedAt,
    ImplementationRecord? Implementation,
    IReadOnlyList<string> SupportedFeatures,
    IReadOnlyList<string> UnsupportedFeatures,
    KernelRecord? Kernel,
    IReadOnlyDictionary<string, string> Tools,
    double? DurationMs,
    string? Command,
    IReadOnlyList<string>? Claims)
{
    /// <summary>The schema's version. It grows by one with a change that an old reader would misread.</summary>
    public const int CurrentSchema = 1;

    /// <summary>The record's name in the run's folder.</summary>
    public const string FileName = "run.json";

    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        WriteIndented = true,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>A run of which nothing but its folder is known.</summary>
    public static RunRecord Of(string runFolder) => new(CurrentSchema, Path.GetFileName(Path.GetFullPath(runFolder)),
        DateTimeOffset.UtcNow, null, [], [], null, new Dictionary<string, string>(StringComparer.Ordinal), null, null, null);

    /// <exception cref="JsonException">The text is no such record.</exception>
    public static RunRecord Parse(string json) => JsonSerializer.Deserialize<RunRecord>(json, s_options) is { Schema: CurrentSchema } run
        ? run : throw new JsonException($"It is no run record of schema {CurrentSchema}.");

    public string ToJson() => JsonSerializer.Serialize(this, s_options);

    /// <summary>Writes the record in one step.</summary>
    public void Write(string runFolder) => WholeFile.Write(Path.Combine(runFolder, FileName), ToJson());
}
