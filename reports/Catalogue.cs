using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Conformance.Reports;

/// <summary>One statement with an id.</summary>
public sealed class Claim
{
    public string Id { get; set; } = "";

    /// <summary>The article's words; empty where the article is silent.</summary>
    public string Zh { get; set; } = "";

    public string En { get; set; } = "";

    /// <summary>What proves or disproves it.</summary>
    public string Observe { get; set; } = "";

    public ArticleVerdict Article { get; set; }

    /// <summary>The correct behaviour, which the test asserts, where the statement is imprecise or wrong.</summary>
    public string? Correct { get; set; }

    /// <summary>
    /// Whether it tells what a kernel or proxy happens to do and may change: one that is violated is told, and makes no run fail.
    /// </summary>
    public bool Provisional { get; set; }

    /// <summary>What a test asserts: the correct behaviour where the article does not state it, else the article's statement.</summary>
    [YamlIgnore]
    public string Proved => Article == ArticleVerdict.Right ? En : Correct ?? En;

    /// <summary>The chapter that it stands in.</summary>
    [YamlIgnore]
    public string Chapter { get; set; } = "";
}

/// <summary>A chapter of the catalogue; every claim of a finished one has a test.</summary>
public sealed class Chapter
{
    public string Id { get; set; } = "";

    public string Title { get; set; } = "";

    public bool Finished { get; set; }

    public List<Claim> Claims { get; set; } = [];
}

/// <summary>The catalogue of claims, <c>conformance/claims.yaml</c>.</summary>
public sealed class Catalogue
{
    private Catalogue(IReadOnlyList<Chapter> chapters)
    {
        Chapters = chapters;
        Claims = chapters.SelectMany(c => c.Claims).ToDictionary(c => c.Id, StringComparer.Ordinal);
    }

    public IReadOnlyList<Chapter> Chapters { get; }

    public IReadOnlyDictionary<string, Claim> Claims { get; }

    /// <exception cref="FormatException">The document is wrong; names line and column, or the claim.</exception>
    public static Catalogue Parse(string yaml)
    {
        List<Chapter> chapters;
        try
        {
            chapters = new DeserializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance).Build().Deserialize<List<Chapter>>(yaml);
        }
        catch (YamlException e)
        {
            throw new FormatException($"claims.yaml:{e.Start.Line}:{e.Start.Column}: {e.InnerException?.Message ?? e.Message}", e);
        }
        foreach (var chapter in chapters)
        {
            foreach (var claim in chapter.Claims)
            {
                claim.Chapter = chapter.Id;
                if (claim.Id.Length == 0 || claim.En.Length == 0 || claim.Observe.Length == 0)
                    throw new FormatException($"claims.yaml: the claim '{claim.Id}' of {chapter.Id} lacks id, en or observe.");
                if (claim.Article is ArticleVerdict.Imprecise or ArticleVerdict.Wrong && string.IsNullOrEmpty(claim.Correct))
                    throw new FormatException($"claims.yaml: the article is {claim.Article} on {claim.Id}, and the correct behaviour is missing.");
                if (claim.Article != ArticleVerdict.Silent && claim.Zh.Length == 0)
                    throw new FormatException($"claims.yaml: {claim.Id} lacks the article's words (zh).");
            }
        }
        var twins = chapters.SelectMany(c => c.Claims).GroupBy(c => c.Id, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1);
        return twins is null ? new Catalogue(chapters) : throw new FormatException($"claims.yaml: {twins.Key} stands there twice.");
    }
}
