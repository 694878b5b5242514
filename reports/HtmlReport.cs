using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Text.Unicode;

namespace Conformance.Reports;

/// <summary>
/// One run, or two side by side, as a page that needs nothing else: style, script, data and stories are in it. Captures and whole records
/// stay beside it, and the page links to them.
/// </summary>
public static partial class HtmlReport
{
    // A page that holds everything of a large run would be 20 MB; the rest is in the records.
    private const int MaxFlows = 8;
    private const int MaxHops = 40;
    private const int MaxText = 3000;

    private static readonly string[] s_scripts = ["words.js", "story.js", "claims.js", "page.js"];

    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.Create(UnicodeRanges.All), // escapes < and >, so that no text can end the script element
    };

    /// <summary>The page for a run, or for two runs to be compared.</summary>
    /// <param name="folder">The folder that the page will be in: its links to captures and records begin there.</param>
    /// <param name="runs">One run, or two.</param>
    public static string Render(string folder, params IReadOnlyList<RunResults> runs)
    {
        var script = string.Concat(s_scripts.Select(Read));
        var parts = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["style"] = Read("page.css"),
            ["script-hash"] = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(script))),
            ["data"] = JsonSerializer.Serialize(DataOf(folder, runs), s_options),
            ["evidence"] = Compress(JsonSerializer.SerializeToUtf8Bytes(EvidenceOf(runs), s_options)),
            ["script"] = script,
            ["trust"] = TrustSection.Render(runs[0].Folder),
        };
        return Place().Replace(Read("page.html"), place => parts[place.Groups["name"].Value]);
    }

    [GeneratedRegex(@"\{\{(?<name>[a-z-]+)\}\}", RegexOptions.None, 1000)]
    private static partial Regex Place();

    /// <summary>What the page shows at once.</summary>
    private static object DataOf(string folder, IReadOnlyList<RunResults> runs) => new
    {
        Runs = runs.Select(r => new
        {
            r.Run.Run,
            StartedAt = r.Run.StartedAt.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss 'UTC'",
            System.Globalization.CultureInfo.InvariantCulture),
            Implementations = r.Implementations.Select(i => $"{i.Name} {i.Version}".Trim()),
            r.Kernel,
            r.Run.Tools,
            r.Run.DurationMs,
            r.Run.Command,
            r.Run.SupportedFeatures,
            r.Run.UnsupportedFeatures,
            r.Run.CatalogueSize,
            r.Faults,
            Base = Path.GetRelativePath(folder, r.Folder).Replace('\\', '/'),
            Profiles = Profile.Of(r).Select(p => new { p.Name, Core = PartOf(p.Core), Extended = PartOf(p.Extended) }),
        }),
        Chapters = Joined(runs).Select(results => Fullest(results).Chapter).DistinctBy(c => c.Id).OrderBy(c => c.Number),
        Claims = Joined(runs).Select(results => Fullest(results) is var claim ? new
        {
            claim.Id,
            Chapter = claim.Chapter.Id,
            claim.Profile,
            claim.Features,
            claim.Provisional,
            claim.Article,
            claim.Proved,
            claim.Method,
            Results = results.Select(r => r is null ? null : new { r.Verdict, Observed = Observed(r) }),
            Differs = results is [var a, var b] && (a is null || b is null || !RunComparison.AreAlike(a, b)),
        } : null),
        Topologies = runs.SelectMany(TopologiesOf).DistinctBy(t => t.Name).ToDictionary(t => t.Name, t => t.Svg, StringComparer.Ordinal),
    };

    /// <summary>What the page unpacks when somebody opens a claim: for each claim its tests, by run.</summary>
    private static Dictionary<string, IEnumerable<object?>> EvidenceOf(IReadOnlyList<RunResults> runs) => Joined(runs)
        .ToDictionary(results => Fullest(results).Id, results => results.Select(r => r?.Tests.Select(t => new
        {
            t.Name,
            t.Topology,
            Implementation = $"{t.Implementation.Name} {t.Implementation.Version}".Trim(),
            Proxy = t.Implementation.Name,
            t.Verdict,
            Ms = t.DurationMs,
            Reason = Cut(t.Reason ?? ""),
            Observed = t.Observed.Select(Cut),
            Steps = t.Steps.Select(s => new object[] { s.Ms, s.Node, Cut(s.Text) }),
            Flows = t.Flows.Take(MaxFlows).Select(StoryOf),
            MoreFlows = Math.Max(0, t.Flows.Count - MaxFlows),
            Tables = t.Tables.Select(table => new { table.Node, table.Title, Text = Cut(table.Text) }),
            Attachments = t.Attachments.Select(a => new { a.Name, a.Path }),
        }) as object), StringComparer.Ordinal);

    private static object StoryOf(FlowRecord flow)
    {
        var hops = Hop.Of(flow);
        return new
        {
            flow.From,
            flow.Protocol,
            flow.Local,
            flow.Target,
            flow.Outcome,
            Hops = hops.Take(MaxHops),
            MoreHops = Math.Max(0, hops.Count - MaxHops),
            flow.Entries,
            flow.Rules,
        };
    }

    private static IEnumerable<string> Observed(ClaimRecord claim) => claim.Observed.Take(3).Select(Cut);

    /// <summary>The results of each claim, one for each run; null where a run does not have the claim.</summary>
    private static IEnumerable<IReadOnlyList<ClaimRecord?>> Joined(IReadOnlyList<RunResults> runs)
    {
        var byRun = runs.Select(r => r.Claims.ToDictionary(c => c.Id, StringComparer.Ordinal)).ToList();
        return runs.SelectMany(r => r.Claims).Select(c => c.Id).Distinct(StringComparer.Ordinal)
            .Select(id => (IReadOnlyList<ClaimRecord?>)[.. byRun.Select(claims => claims.GetValueOrDefault(id))]);
    }

    /// <summary>Of a claim's records in several runs one that has the catalogue's words; that of a lost record has none.</summary>
    private static ClaimRecord Fullest(IReadOnlyList<ClaimRecord?> results) =>
        results.OfType<ClaimRecord>().OrderByDescending(r => r.Tests.Count > 0).First();

    private static IEnumerable<(string Name, string Svg)> TopologiesOf(RunResults results)
    {
        var folder = Path.Combine(results.Folder, "topologies");
        return Directory.Exists(folder) ? Directory.GetFiles(folder, "*.svg").Order(StringComparer.Ordinal)
            .Select(f => (Path.GetFileNameWithoutExtension(f), File.ReadAllText(f))) : [];
    }

    private static object PartOf(ProfilePart part) => new
    {
        part.Count,
        part.Passed,
        Result = ConformanceReport.Word(part.Result),
    };

    private static string Cut(string text) => text.Length <= MaxText ? text : $"{text[..MaxText]}\n…";

    private static string Compress(byte[] bytes)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Optimal))
            gzip.Write(bytes);
        return Convert.ToBase64String(packed.ToArray());
    }

    private static string Read(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream($"Html/{name}")!);
        return reader.ReadToEnd();
    }
}
