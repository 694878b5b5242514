namespace Conformance.Reports;

/// <summary>The reports of a run, which are files in its folder.</summary>
public static class ReportFiles
{
    /// <summary>The page for people.</summary>
    public const string Html = "report.html";

    /// <summary>All names, in the order in which they are written.</summary>
    public static IReadOnlyList<string> Names { get; } = ["summary.md", Html, "report.yaml", "junit.xml", "badge.svg"];

    /// <summary>Writes every report of a run into its folder.</summary>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static void Write(RunResults results, Maker maker)
    {
        Write("summary.md", MarkdownSummary.Of(results));
        Write(Html, HtmlReport.Render(results.Folder, results));
        Write("report.yaml", ConformanceReport.ToYaml(results, maker));
        Write("junit.xml", JunitReport.ToXml(results));
        Write("badge.svg", Badge.ToSvg(results));

        void Write(string name, string text) => WholeFile.Write(Path.Combine(results.Folder, name), text);
    }
}
