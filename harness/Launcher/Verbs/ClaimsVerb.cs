using System.CommandLine;
using System.Reflection;
using System.Text.Json;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;
using Spectre.Console;

namespace Conformance.Launcher.Verbs;

/// <summary>
/// <c>./lab claims</c>: lists the catalogue with the tests that prove each claim. It needs neither root nor a lab kernel.
/// </summary>
internal static class ClaimsVerb
{
    private const string ClaimAttribute = "Conformance.Suite.ClaimAttribute";

    private sealed record Row(
        string Id, string Chapter, string Profile, string Topology, IReadOnlyList<string> Features, string Article, bool Provisional,
            string Claim, string Method, IReadOnlyList<string> Tests);

    internal static Command Create()
    {
        var filter = new Argument<string>("filter")
        {
            Description = "An id (SNAT-1), ids with a star (SNAT-*), or a chapter (snat).",
            DefaultValueFactory = _ => "*"
        };
        filter.CompletionSources.Add(Words.Claims);
        var format = Output.CreateOption();
        var chapters = new Option<bool>("--chapters") { Description = "The table of chapters, in Markdown." };
        var verb = new Command("claims", "List the claims with chapter, profile, topology and test.") { filter, format, chapters };
        verb.SetAction(parsed => Task.FromResult(parsed.GetValue(chapters) ? PrintChapters()
            : Print(parsed.GetValue(filter)!, parsed.GetValue(format)!)));
        return verb;
    }

    private static int PrintChapters()
    {
        Console.Write(Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")).ToMarkdown());
        return ExitCodes.Ok;
    }

    private static int Print(string filter, string format)
    {
        var tests = TestsByClaim();
        var rows = Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")).Claims.Values.Where(c => IsMatch(c, filter))
            .Select(c => new Row(
            c.Id, c.Chapter, c.Profile, c.Topology, c.Features, c.Article.Word(), c.Provisional, c.Proved, c.Method,
                [.. tests[c.Id]])).ToList();
        if (rows.Count == 0)
        {
            Console.Error.WriteLine($"No claim matches '{filter}'.");
            return ExitCodes.NothingRan;
        }
        if (format == Output.Json)
        {
            Console.WriteLine(JsonSerializer.Serialize(rows, Output.JsonOptions));
            return ExitCodes.Ok;
        }
        var table = new Table().Border(TableBorder.Minimal).AddColumns("claim", "chapter", "profile", "topology", "test");
        foreach (var row in rows)
            table.AddRow(row.Id, row.Chapter, row.Profile, row.Topology, Markup.Escape(string.Join('\n', row.Tests)));
        Output.Console.Write(table);
        Console.Error.WriteLine($"{rows.Count} claims.");
        return ExitCodes.Ok;
    }

    private static bool IsMatch(Claim claim, string filter) => filter.EndsWith('*')
        ? claim.Id.StartsWith(filter[..^1], StringComparison.OrdinalIgnoreCase)
        : claim.Id.Equals(filter, StringComparison.OrdinalIgnoreCase) || claim.Chapter.Equals(filter, StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// The tests of the suite by claim, as <c>Chapter/Fixture.Test</c>. Attributes are read as data; no code of the suite runs.
    /// </summary>
    private static ILookup<string, string> TestsByClaim() =>
        (from type in Assembly.LoadFrom(Programs.Suite).GetTypes()
         from method in type.GetMethods()
         from attribute in method.GetCustomAttributesData()
         where attribute.AttributeType.FullName == ClaimAttribute
         from id in (IEnumerable<CustomAttributeTypedArgument>)attribute.ConstructorArguments[0].Value!
         select (Id: (string)id.Value!, Test: $"{type.Namespace!.Split('.')[^1]}/{type.Name}.{method.Name}"))
             .ToLookup(t => t.Id, t => t.Test, StringComparer.Ordinal);
}
