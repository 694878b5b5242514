using System.Text.Encodings.Web;
using System.Text.Json;

namespace Conformance.Reports;

/// <summary>What the record says of the article: our verdict on its statement, its words, and what is right instead.</summary>
public sealed record ArticleRecord(ArticleVerdict Verdict, string Zh, string En, string? Correct);

/// <summary>One packet of a flow's story. Time is in milliseconds from the flow's first packet.</summary>
public sealed record PacketRecord(double Ms, string Node, string Device, string Direction, string Packet, string? Rewrite);

/// <summary>One thing that a test did to a node, in words. Time is in milliseconds from the lab's start.</summary>
public sealed record StepRecord(double Ms, string Node, string Text);

/// <summary>One probe and what came of it.</summary>
public sealed record FlowRecord(string From, string Protocol, string Local, string Target, string Outcome, string? Answer,
    IReadOnlyList<PacketRecord> Packets);

/// <summary>A table of a node as it stood at the end of a test.</summary>
public sealed record TableRecord(string Node, string Title, string Text);

/// <summary>A file beside the record; the path is relative to the run's folder.</summary>
public sealed record AttachmentRecord(string Name, string Path, string Type);

/// <summary>What one test saw. Times are in milliseconds.</summary>
/// <param name="Implementation">What was under test: one claim may be shown on several.</param>
/// <param name="Observed">What the test looked at, in order: flows with their outcome, tables, output of commands, traced rules.</param>
public sealed record TestRecord(
    string Name,
    ImplementationRecord Implementation,
    Verdict Verdict,
    double DurationMs,
    string? Reason,
    IReadOnlyList<string> Observed,
    IReadOnlyList<StepRecord> Steps,
    IReadOnlyList<FlowRecord> Flows,
    IReadOnlyList<TableRecord> Tables,
    IReadOnlyList<AttachmentRecord> Attachments);

/// <summary>Kind is host, uml or qemu.</summary>
public sealed record KernelRecord(string Kind, string Release);

/// <summary>The proxy under test.</summary>
public sealed record ImplementationRecord(string Name, string Version);

/// <summary>
/// The result of one claim on one run. <c>Method</c> is the catalogue's; <c>Observed</c> is made of what its tests looked at; stored as
/// <c>claims/ID.json</c> by <c>schema/claim.schema.json</c>.
/// </summary>
public sealed record ClaimRecord(
    int Schema,
    string Id,
    string Chapter,
    ArticleRecord Article,
    string Method,
    IReadOnlyList<string> Observed,
    Verdict Verdict,
    double DurationMs,
    IReadOnlyList<TestRecord> Tests,
    KernelRecord Kernel,
    IReadOnlyDictionary<string, string> Tools,
    string Run,
    DateTimeOffset StartedAt)
{
    /// <summary>The schema's version. It grows by one with a change that an old reader would misread.</summary>
    public const int CurrentSchema = 3;

    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // Chinese stays readable; the files are not put into HTML as they are
    };

    public static string Folder(string runFolder) => Path.Combine(runFolder, "claims");

    public static ClaimRecord Parse(string json) =>
        JsonSerializer.Deserialize<ClaimRecord>(json, s_options) ?? throw new JsonException("The document is null.");

    /// <summary>The record of one claim.</summary>
    /// <exception cref="IOException">There is none, or it cannot be read.</exception>
    public static ClaimRecord Read(string runFolder, string id) => Parse(File.ReadAllText(PathOf(runFolder, id)));

    /// <summary>All records of a run, by id. A file that cannot be read is left out, and so counts as missing.</summary>
    public static IReadOnlyDictionary<string, ClaimRecord> ReadAll(string runFolder)
    {
        var records = new Dictionary<string, ClaimRecord>(StringComparer.Ordinal);
        if (!Directory.Exists(Folder(runFolder)))
            return records;
        foreach (var file in Directory.GetFiles(Folder(runFolder), "*.json"))
        {
            try
            {
                var record = Parse(File.ReadAllText(file));
                records[record.Id] = record;
            }
            catch (Exception e) when (e is JsonException or IOException)
            {
                // Torn by a crash: broken, because it has no record.
            }
        }
        return records;
    }

    public string ToJson() => JsonSerializer.Serialize(this, s_options);

    /// <summary>Writes the record in one step: a reader sees the old one or the new one.</summary>
    public void Write(string runFolder)
    {
        Directory.CreateDirectory(Folder(runFolder));
        var path = PathOf(runFolder, Id);
        File.WriteAllText(path + ".new", ToJson());
        File.Move(path + ".new", path, overwrite: true);
    }

    private static string PathOf(string runFolder, string id) => Path.Combine(Folder(runFolder), $"{id}.json");
}
