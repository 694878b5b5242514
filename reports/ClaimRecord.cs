using System.Text.Json;
using System.Text.Json.Serialization;

namespace Conformance.Reports;

/// <summary>What the record says of the article: our verdict on its statement, its words, and what is right instead.</summary>
public sealed record ArticleRecord(ArticleVerdict Verdict, string Zh, string En, string? Correct);

/// <summary>One capture of a packet of a flow. Time is in milliseconds from the flow's first packet.</summary>
/// <param name="Number">The packet's number in the flow: the same on every interface, also behind NAT, and for a retransmission.</param>
public sealed record PacketRecord(double Ms, int Number, string Node, string Device, string Direction, string Packet, string? Rewrite);

/// <summary>One thing that a test did to a node, in words. Time is in milliseconds from the lab's start.</summary>
public sealed record StepRecord(double Ms, string Node, string Text);

/// <summary>An entry that a table of a node had of a flow.</summary>
/// <param name="Table">IPVS connection, or conntrack.</param>
public sealed record EntryRecord(string Node, string Table, string Text);

/// <summary>A rule of a node that a flow's first packet passed, with its table and chain.</summary>
public sealed record RuleRecord(string Node, string Text);

/// <summary>One probe and what came of it.</summary>
/// <param name="OutcomeClass">The outcome without addresses and names: answered, refused, silence.</param>
/// <param name="Rules">In order; empty where the test did not trace the flow.</param>
public sealed record FlowRecord(string From, string Protocol, string Local, string Target, string Outcome, string OutcomeClass,
    string? Answer,
    IReadOnlyList<PacketRecord> Packets, IReadOnlyList<EntryRecord> Entries, IReadOnlyList<RuleRecord> Rules);

/// <summary>A table of a node as it stood at the end of a test.</summary>
public sealed record TableRecord(string Node, string Title, string Text);

/// <summary>A file beside the record; the path is relative to the run's folder.</summary>
public sealed record AttachmentRecord(string Name, string Path, string Type);

/// <summary>What one test saw. Times are in milliseconds.</summary>
/// <param name="Topology">The name of its lab's topology; empty for a test without a lab.</param>
/// <param name="Implementation">What was under test: one claim may be shown on several.</param>
/// <param name="Observed">What the test looked at, in order: flows with their outcome, tables, output of commands, traced rules.</param>
public sealed record TestRecord(
    string Name,
    string Topology,
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

/// <summary>The chapter of a claim; the number is its place in reports.</summary>
public sealed record ChapterRecord(string Id, int Number, string Title);

/// <summary>
/// The result of one claim on one run, with all that the catalogue said of it then. <c>Method</c> is the catalogue's; <c>Observed</c> is
/// made of what its tests looked at; stored as
/// <c>claims/ID.json</c> by <c>schema/claim.schema.json</c>.
/// </summary>
public sealed record ClaimRecord(
    int Schema,
    string Id,
    ChapterRecord Chapter,
    string Profile,
    IReadOnlyList<string> Features,
    bool Provisional,
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
    public const int CurrentSchema = 4;

    /// <summary>Whether a run has a record of a claim.</summary>
    public static bool Exists(string runFolder, string id) => File.Exists(PathOf(runFolder, id));

    public static string Folder(string runFolder) => Path.Combine(runFolder, "claims");

    /// <exception cref="JsonException">The text is no record of this schema.</exception>
    public static ClaimRecord Parse(string json) => RecordJson.Read<ClaimRecord>(json) is { Schema: CurrentSchema } record ? record
        : throw new JsonException($"It is no claim record of schema {CurrentSchema}.");

    /// <summary>The record of a claim that no test has touched yet: broken.</summary>
    public static ClaimRecord Of(Claim claim, Chapter chapter, KernelRecord kernel, IReadOnlyDictionary<string, string> tools, string run,
        DateTimeOffset startedAt) => new(CurrentSchema, claim.Id, new ChapterRecord(chapter.Id, chapter.Number, chapter.Title),
            claim.Profile, claim.Features, claim.Provisional, new ArticleRecord(claim.Article, claim.Zh, claim.En, claim.Correct),
            claim.Method, [], Verdict.Broken, 0, [], kernel, tools, run, startedAt);

    /// <summary>What the tests assert: the correct behaviour where the article does not state it, else the article's statement.</summary>
    [JsonIgnore]
    public string Proved => Article.Verdict == ArticleVerdict.Right ? Article.En : Article.Correct ?? Article.En;

    /// <summary>Why the claim does not hold: what its worst test said. Empty when it holds.</summary>
    [JsonIgnore]
    public string Reason => Tests.Count == 0 ? "selected, but no test left a record"
        : Tests.OrderByDescending(t => t.Verdict).First() is { Reason: { Length: > 0 } reason } ? reason : "";

    /// <summary>The same claim with these tests.</summary>
    public ClaimRecord With(IReadOnlyList<TestRecord> tests) => this with
    {
        Tests = tests,
        Observed = [.. tests.SelectMany(t => t.Observed)],
        Verdict = tests.Max(t => t.Verdict),
        DurationMs = tests.Sum(t => t.DurationMs),
    };

    public string ToJson() => RecordJson.Write(this);

    /// <summary>Writes the record in one step: a reader sees the old one or the new one.</summary>
    public void Write(string runFolder)
    {
        Directory.CreateDirectory(Folder(runFolder));
        WholeFile.Write(PathOf(runFolder, Id), ToJson());
    }

    internal static string PathOf(string runFolder, string id) => Path.Combine(Folder(runFolder), $"{id}.json");
}
