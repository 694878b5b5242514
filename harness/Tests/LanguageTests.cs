using System.Text.RegularExpressions;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Tests;

/// <summary>The language of the project: words, names of tests, and line lengths, as CONTRIBUTING.md states them.</summary>
public sealed partial class LanguageTests
{
    private const int MaxLine = 140;
    private const int MaxTestName = 80;
    private static readonly string[] s_folders = ["conformance", "harness", "reports", "topologies"];
    private static readonly string[] s_extensions = [".cs", ".md", ".yaml", ".sh", ".json", ".csproj", ".js", ".mjs", ".css", ".html"];

    /// <summary>Literary or archaic words, each with the word to use. The changelog of past versions stays as it is.</summary>
    private static readonly Dictionary<string, string> s_words = new(StringComparer.Ordinal)
    {
        ["told"] = "reported",
        ["anew"] = "again",
        ["affair"] = "concern",
        ["mends?"] = "fix",
        ["mended"] = "fixed",
        ["for want of"] = "because there is no",
        ["lest"] = "so that not",
        ["shall"] = "must",
        ["besides"] = "also",
        ["thereof"] = "of it",
        ["strangers?"] = "external clients",
    };

    private static IEnumerable<string> Files =>
        s_folders.SelectMany(f => Directory.EnumerateFiles(Path.Combine(ProjectFolder.Root, f), "*", SearchOption.AllDirectories))
        .Concat(Directory.EnumerateFiles(ProjectFolder.Root, "*.md"))
        .Where(f => s_extensions.Contains(Path.GetExtension(f), StringComparer.Ordinal) && !Built().IsMatch(f)
            && Path.GetFileName(f) is not ("LanguageTests.cs" or "CHANGELOG.md" or "summary.md"));

    [Test]
    public void Words_are_plain()
    {
        var pattern = new Regex($@"(?<![A-Za-z])({string.Join('|', s_words.Keys)})(?![A-Za-z])",
            RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture,
            TimeSpan.FromSeconds(5));

        Files.SelectMany(file => Lines(file).SelectMany(l => pattern.Matches(l.Text).Select(m => $"{Place(file, l.Number)}: {m.Value}")))
            .ShouldBeEmpty();
    }

    [Test]
    public void Lines_have_at_most_140_columns()
    {
        var code = Files.Where(f => Path.GetExtension(f) is ".cs" or ".md" or ".yaml");

        code.SelectMany(file => Lines(file).Where(l => l.Text.Length > MaxLine && !IsData(file, l)).Select(l => Place(file, l.Number)))
            .ShouldBeEmpty();
    }

    [Test]
    public void Names_of_tests_are_short_and_have_no_possessive()
    {
        var names = Files.Where(f => f.EndsWith(".cs", StringComparison.Ordinal))
            .SelectMany(file => TestName().Matches(File.ReadAllText(file)).Select(m => (File: file, Name: m.Groups["name"].Value)))
                .ToList();

        names.Count.ShouldBeGreaterThan(500);
        names.Where(n => n.Name.Length > MaxTestName || n.Name.Contains("_s_", StringComparison.Ordinal)).Select(n => n.Name)
            .ShouldBeEmpty();
    }

    [Test]
    public void Classes_and_files_are_in_pascal_case() =>
        Files.Where(f => f.EndsWith(".cs", StringComparison.Ordinal)).Select(Path.GetFileName)
            .Where(f => f!.Contains('_', StringComparison.Ordinal)).ShouldBeEmpty();

    private static string Place(string file, int number) => $"{Path.GetRelativePath(ProjectFolder.Root, file)}:{number}";

    /// <summary>
    /// Data keeps its lines: raw string literals of C#, recorded files, and rows of tables and blocks of output in Markdown.
    /// </summary>
    private static bool IsData(string file, (int Number, string Text, bool IsRaw) line) => line.IsRaw
        || file.Contains("golden", StringComparison.Ordinal) || file.Contains("corpus", StringComparison.Ordinal)
        || (file.Contains("published", StringComparison.Ordinal) && Path.GetFileName(file) != "README.md")
        || (file.EndsWith(".md", StringComparison.Ordinal)
            && (line.Text.StartsWith('|') || line.Text.StartsWith("    ", StringComparison.Ordinal)));

    private static IEnumerable<(int Number, string Text, bool IsRaw)> Lines(string file)
    {
        var (number, isRaw) = (0, false);
        foreach (var line in File.ReadLines(file))
        {
            number++;
            var quotes = RawQuotes().Count(line);
            yield return (number, line, isRaw || quotes > 0);
            if (quotes % 2 == 1)
                isRaw = !isRaw;
        }
    }

    [GeneratedRegex("\"{3,}", RegexOptions.None, 1000)]
    private static partial Regex RawQuotes();

    [GeneratedRegex(@"/(bin|obj|artifacts)/", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Built();

    [GeneratedRegex(@"public (static )?(async )?(Task|void) (?<name>[A-Z]\w*_\w+)\(", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex TestName();
}
