using System.Globalization;
using System.Xml.Linq;

namespace Conformance.Reports;

/// <summary>
/// A run as JUnit XML, in the shape that JunitXml.TestLogger gives a run of <c>dotnet test</c>: one suite for the assembly, a case for each
/// test. The ids of a test's claims are properties of its case.
/// </summary>
public static class JunitReport
{
    private const string Suite = "Conformance.Suite.dll";

    public static string ToXml(RunResults results)
    {
        var tests = results.Claims.SelectMany(c => c.Tests.Select(t => (Test: t, c.Id)))
            .GroupBy(t => t.Test.Name, StringComparer.Ordinal).Select(g => (g.First().Test, Ids: g.Select(t => t.Id).ToList()))
            .OrderBy(t => t.Test.Name, StringComparer.Ordinal).ToList();
        var lost = results.Claims.Where(c => c.Tests.Count == 0).ToList();
        var suite = new XElement("testsuite",
            new XAttribute("name", Suite),
            new XAttribute("tests", tests.Count + lost.Count),
            new XAttribute("skipped", tests.Count(t => t.Test.Verdict is Verdict.NotSupported or Verdict.NotTestable)),
            new XAttribute("failures", tests.Count(t => t.Test.Verdict.IsBad()) + lost.Count),
            new XAttribute("errors", 0),
            new XAttribute("time", Seconds(tests.Sum(t => t.Test.DurationMs))),
            new XAttribute("timestamp", results.Run.StartedAt.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss", CultureInfo.InvariantCulture)),
            new XAttribute("hostname", results.Run.Host),
            new XAttribute("id", 0),
            new XAttribute("package", Suite),
            new XElement("properties"),
            tests.Select(t => CaseOf(t.Test, t.Ids)),
            lost.Select(c => Case(c.Chapter.Id, c.Id, 0, [c.Id], new XElement("failure", new XAttribute("type", "failure"),
                new XAttribute("message", Printable(c.Reason))))),
            new XElement("system-out"),
            new XElement("system-err"));
        return $"{new XDeclaration("1.0", "utf-8", null)}\n{new XElement("testsuites", suite)}\n";
    }

    private static XElement CaseOf(TestRecord test, IReadOnlyList<string> claims)
    {
        var (fixture, method) = SplitName(test.Name);
        return Case(fixture, method, test.DurationMs, claims, test.Verdict switch
        {
            Verdict.Holds => null,
            Verdict.NotSupported or Verdict.NotTestable => new XElement("skipped", new XAttribute("message", Printable(test.Reason))),
            _ => new XElement("failure", new XAttribute("type", "failure"), new XAttribute("message", Printable(test.Reason))),
        });
    }

    /// <summary>
    /// The class and the method with their arguments, which may hold dots: the method begins behind the last dot outside them.
    /// </summary>
    private static (string Fixture, string Method) SplitName(string name)
    {
        var (depth, dot) = (0, -1);
        var quoted = false;
        for (var i = 0; i < name.Length; i++)
        {
            if (name[i] == '"' && i > 0 && name[i - 1] != '\\')
                quoted = !quoted;
            if (quoted)
                continue;
            depth += name[i] switch { '(' => 1, ')' => -1, _ => 0 };
            if (name[i] == '.' && depth == 0)
                dot = i;
        }
        return dot < 0 ? ("", name) : (name[..dot], name[(dot + 1)..]);
    }

    private static XElement Case(string fixture, string name, double ms, IReadOnlyList<string> claims, XElement? result) =>
        new("testcase",
            new XAttribute("classname", Printable(fixture)),
            new XAttribute("name", Printable(name)),
            new XAttribute("time", Seconds(ms)),
            new XElement("properties", claims.Select(c => new XElement("property", new XAttribute("name", "claim"),
                new XAttribute("value", c)))),
            result);

    private static string Seconds(double ms) => (ms / 1000).ToString("0.000", CultureInfo.InvariantCulture);

    /// <summary>Without the characters that XML cannot hold; programs under test print any.</summary>
    private static string Printable(string? text) =>
        string.Concat((text ?? "").EnumerateRunes().Select(r => r.Value is < 0x20 and not ('\t' or '\n' or '\r')
            || r.Value is 0xfffe or 0xffff
            ? "\ufffd" : r.ToString()));
}
