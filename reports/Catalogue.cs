using System.Globalization;
using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Conformance.Reports;

/// <summary>One statement with an id.</summary>
public sealed class Claim
{
    /// <summary>The prefix of its chapter and a number: <c>SNAT-1</c>.</summary>
    public string Id { get; set; } = "";

    /// <summary>The article's words; empty where the article is silent.</summary>
    public string Zh { get; set; } = "";

    /// <summary>The statement in English.</summary>
    public string En { get; set; } = "";

    /// <summary>The correct behaviour, which the test asserts, where the statement is imprecise or wrong.</summary>
    public string? Correct { get; set; }

    /// <summary>How a test proves or disproves it.</summary>
    public string Method { get; set; } = "";

    /// <summary>Whether the article states it, and correctly.</summary>
    public ArticleVerdict Article { get; set; }

    /// <summary>The conformance profile; the chapter's when the row has none.</summary>
    public string Profile { get; set; } = "";

    /// <summary>The topology on which the test shows it; further tests may show it on others.</summary>
    public string Topology { get; set; } = "";

    /// <summary>
    /// Features that the proxy under test must declare, by their words in a proxy's specification; without one the claim is not supported.
    /// </summary>
    public List<string> Features { get; set; } = [];

    /// <summary>
    /// Whether it describes what a kernel or proxy happens to do and may change. A violated provisional claim is reported and does not fail
    /// the run.
    /// </summary>
    public bool Provisional { get; set; }

    /// <summary>
    /// Where and why kernels differ in it: the releases, a colon, and the reason, such as <c>6.12+: …</c>. What is written here explains a
    /// difference in a matrix, and excuses none.
    /// </summary>
    public List<string> Kernels { get; set; } = [];

    /// <summary>What a test asserts: the correct behaviour where the article does not state it, else the article's statement.</summary>
    [YamlIgnore]
    public string Proved => Article == ArticleVerdict.Right ? En : Correct ?? En;

    /// <summary>The id of its chapter.</summary>
    [YamlIgnore]
    public string Chapter { get; set; } = "";
}

/// <summary>A chapter: the file <c>claims.yaml</c> in a folder of <c>conformance/</c>, beside the fixtures that prove its claims.</summary>
public sealed class Chapter
{
    /// <summary>The folder's name with dashes: <c>session-affinity</c> for SessionAffinity.</summary>
    public string Id { get; set; } = "";

    /// <summary>Its place in reports.</summary>
    public int Number { get; set; }

    /// <summary>The prefix of its claims' ids.</summary>
    public string Prefix { get; set; } = "";

    /// <summary>The heading in reports.</summary>
    public string Title { get; set; } = "";

    /// <summary>The conformance profile of its claims, but for those that name another.</summary>
    public string Profile { get; set; } = "";

    /// <summary>Its claims, in the order of reports.</summary>
    public List<Claim> Claims { get; set; } = [];
}

/// <summary>The catalogue of claims: all chapters, in order.</summary>
public sealed class Catalogue
{
    private Catalogue(IReadOnlyList<Chapter> chapters)
    {
        Chapters = chapters;
        Claims = chapters.SelectMany(c => c.Claims).ToDictionary(c => c.Id, StringComparer.Ordinal);
    }

    /// <summary>The chapters by their numbers.</summary>
    public IReadOnlyList<Chapter> Chapters { get; }

    /// <summary>The claims by id.</summary>
    public IReadOnlyDictionary<string, Claim> Claims { get; }

    /// <summary>The chapter that a claim is in.</summary>
    public Chapter ChapterOf(Claim claim) => Chapters.First(c => c.Id == claim.Chapter);

    /// <summary>What is covered, as a table in Markdown: a row for each chapter.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder("| chapter | claims | ids | profiles | topologies |\n|---|---|---|---|---|\n");
        foreach (var chapter in Chapters)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {chapter.Title} | {chapter.Claims.Count} | {chapter.Prefix}-* " +
                $"| {List(chapter.Claims.Select(c => c.Profile))} | {List(chapter.Claims.Select(c => c.Topology))} |\n");
        }
        return text.Append(CultureInfo.InvariantCulture, $"| all | {Claims.Count} | | | |\n").ToString();

        static string List(IEnumerable<string> names) => string.Join(", ", names.Distinct(StringComparer.Ordinal));
    }

    /// <summary>Reads <c>claims.yaml</c> of every chapter in a folder.</summary>
    /// <param name="conformance">The path of <c>conformance/</c>.</param>
    /// <exception cref="FormatException">A file is wrong; names file, line and column, or the claim.</exception>
    public static Catalogue Load(string conformance) => Parse(
        [.. Directory.GetFiles(conformance, "claims.yaml", SearchOption.AllDirectories)
            .Where(f => !Path.GetRelativePath(conformance, f).StartsWith("bin", StringComparison.Ordinal))
            .Select(f => (Path.GetRelativePath(conformance, f), File.ReadAllText(f)))]);

    /// <summary>Reads chapters.</summary>
    /// <param name="files">The name and the text of each chapter's file.</param>
    /// <exception cref="FormatException">A file is wrong; names file, line and column, or the claim.</exception>
    public static Catalogue Parse(params IReadOnlyList<(string Name, string Yaml)> files)
    {
        var chapters = files.Select(f => Parse(f.Name, f.Yaml)).OrderBy(c => c.Number).ToList();
        var twins = chapters.SelectMany(c => c.Claims).GroupBy(c => c.Id, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1);
        return twins is null ? new Catalogue(chapters) : throw new FormatException($"The claim {twins.Key} is in the catalogue twice.");
    }

    private static Chapter Parse(string name, string yaml)
    {
        Chapter chapter;
        try
        {
            chapter = new DeserializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance).Build().Deserialize<Chapter>(yaml);
        }
        catch (YamlException e)
        {
            throw new FormatException($"{name}:{e.Start.Line}:{e.Start.Column}: {e.InnerException?.Message ?? e.Message}", e);
        }
        foreach (var claim in chapter.Claims)
        {
            claim.Chapter = chapter.Id;
            if (claim.Profile.Length == 0)
                claim.Profile = chapter.Profile;
            if (claim.Id.Length == 0 || claim.En.Length == 0 || claim.Method.Length == 0)
                throw new FormatException($"{name}: the claim '{claim.Id}' lacks id, en or method.");
            if (!claim.Id.StartsWith($"{chapter.Prefix}-", StringComparison.Ordinal))
                throw new FormatException($"{name}: the id {claim.Id} does not begin with the chapter's prefix {chapter.Prefix}.");
            if (claim.Article is ArticleVerdict.Imprecise or ArticleVerdict.Wrong && string.IsNullOrEmpty(claim.Correct))
                throw new FormatException($"{name}: the article is {claim.Article} on {claim.Id}, and the correct behaviour is missing.");
            if (claim.Article != ArticleVerdict.Silent && claim.Zh.Length == 0)
                throw new FormatException($"{name}: {claim.Id} lacks the article's words (zh).");
        }
        return chapter;
    }
}
