using System.Reflection;
using System.Text.Json;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Suite;

namespace Conformance.Tests;

/// <summary>The catalogue, the suite, and the records fit together.</summary>
public sealed class CatalogueTests
{
    private static readonly string s_root = ProjectFolder.Root;

    private static readonly string s_conformance = Path.Combine(s_root, "conformance");

    private static Catalogue Claims { get; } = Catalogue.Load(s_conformance);

    [Test]
    public void Every_claim_has_a_test_in_the_folder_of_its_chapter()
    {
        foreach (var chapter in Claims.Chapters)
        {
            var space = $"Conformance.Suite.{FolderOf(chapter)}";
            var tested = SuiteTests().Where(m => m.DeclaringType!.Namespace == space)
                .SelectMany(m => m.GetCustomAttribute<ClaimAttribute>()?.Ids ?? []);

            chapter.Claims.Select(c => c.Id).Except(tested).ShouldBeEmpty(space);
        }
    }

    [Test]
    public void A_chapter_is_in_the_folder_of_its_name()
    {
        foreach (var chapter in Claims.Chapters)
        {
            var file = Path.Combine(s_conformance, FolderOf(chapter), "claims.yaml");
            File.ReadAllText(file).ShouldContain($"\nid: {chapter.Id}\n");
        }
        Claims.Chapters.Select(c => c.Number).ShouldBe(Enumerable.Range(1, Claims.Chapters.Count));
        Claims.Chapters.Select(c => c.Prefix).ShouldBeUnique();
    }

    [Test]
    public void The_readme_has_the_table_of_chapters() => File.ReadAllText(Path.Combine(s_root, "README.md")).ShouldContain(
        Claims.ToMarkdown(), Case.Sensitive, "./lab claims --chapters prints the table");

    [Test]
    public void Every_claim_has_a_method_of_its_own() =>
        Claims.Claims.Values.GroupBy(c => c.Method).Where(g => g.Count() > 1)
            .Select(g => $"{string.Join(", ", g.Select(c => c.Id))}: {g.Key}").ShouldBeEmpty();

    [Test]
    public void The_topology_of_a_row_is_that_of_its_test()
    {
        foreach (var claim in Claims.Claims.Values)
        {
            TopologiesOf(claim.Id).ShouldContain(claim.Topology, claim.Id);
            File.Exists(Path.Combine(s_root, "topologies", $"{claim.Topology}.yaml")).ShouldBeTrue(claim.Topology);
        }
    }

    [Test]
    public void Every_feature_of_a_row_is_one_of_a_proxy() =>
        Should.NotThrow(() => Claims.Claims.Values.SelectMany(c => c.Features).Select(FeatureChange.Parse).ToList());

    [Test]
    public void No_test_names_a_claim_that_the_catalogue_lacks() => ClaimsOfTests().Except(Claims.Claims.Keys).ShouldBeEmpty();

    /// <summary>Those of Observations record what is neither right nor wrong.</summary>
    [Test]
    public void Every_test_of_the_suite_but_observations_names_a_claim() =>
        SuiteTests().Where(m => m.GetCustomAttribute<ClaimAttribute>() is null
            != (m.DeclaringType!.Namespace == "Conformance.Suite.Observations")).Select(m => m.Name).ShouldBeEmpty();

    [Test]
    public void No_test_of_the_suite_is_ignored_or_explicit() =>
        SuiteTests().Where(m => m.GetCustomAttribute<IgnoreAttribute>() is not null
            || m.GetCustomAttribute<ExplicitAttribute>() is not null).Select(m => m.Name).ShouldBeEmpty();

    [TestCase("claims: [{ id: A-1, en: x, method: x, article: wrong, zh: x }]", "correct behaviour is missing")]
    [TestCase("claims: [{ id: A-1, en: x, method: x, article: right }]", "lacks the article's words")]
    [TestCase("claims: [{ id: A-1, en: x, zh: x, method: x, article: right }, { id: A-1, en: x, zh: x, method: x, article: right }]",
        "A-1 is in the catalogue twice")]
    [TestCase("claims: [{ id: B-1, en: x, method: x, article: silent }]", "does not begin with the chapter's prefix")]
    [TestCase("titel: x", "x/claims.yaml:3:1")]
    public void An_invalid_catalogue_is_reported(string yaml, string words) =>
        Should.Throw<FormatException>(() => Catalogue.Parse(("x/claims.yaml", $"id: x\nprefix: A\n{yaml}\n"))).Message.ShouldContain(words);

    [TestCase("Skipped", "Ignored", "not-testable: no tunnel here", Verdict.NotTestable)]
    [TestCase("Skipped", "Ignored", "SetUp : not-supported: by this proxy", Verdict.NotSupported)]
    [TestCase("Skipped", "Ignored", "later", Verdict.Broken)]
    [TestCase("Skipped", "Ignored", null, Verdict.Broken)]
    [TestCase("Inconclusive", "", "", Verdict.Broken)]
    [TestCase("Failed", "", "not-testable: in an assertion's words", Verdict.Violated)]
    [TestCase("Failed", "Error", "an exception", Verdict.Broken)]
    [TestCase("Passed", "", null, Verdict.Holds)]
    public void The_result_of_a_test_is_one_verdict(string status, string label, string? reason, Verdict verdict) =>
        Verdicts.Of(status, label, reason).ShouldBe(verdict);

    private static IEnumerable<MethodInfo> SuiteTests() =>
        typeof(ConformanceFixture).Assembly.GetTypes().SelectMany(t => t.GetMethods())
            .Where(m => m.GetCustomAttributes().Any(a => a is TestAttribute or TestCaseAttribute));

    private static string FolderOf(Chapter chapter) =>
        string.Concat(chapter.Id.Split('-').Select(w => $"{char.ToUpperInvariant(w[0])}{w[1..]}"));

    /// <summary>The topologies of the tests of a claim.</summary>
    private static IEnumerable<string?> TopologiesOf(string id) => SuiteTests()
        .Where(m => m.GetCustomAttribute<ClaimAttribute>()?.Ids.Contains(id, StringComparer.Ordinal) == true)
        .Select(m => (m.GetCustomAttribute<TopologyAttribute>() ?? m.DeclaringType!.GetCustomAttribute<TopologyAttribute>()) is { } named
            ? named.Properties["Topology"][0] as string
            : TopologyOf(m.DeclaringType!));

    /// <summary>The topology of a cluster's fixture; null for one that NUnit makes for several topologies.</summary>
    private static string? TopologyOf(Type fixture) => fixture.GetConstructor([]) is null ? null
        : fixture.GetProperty("Topology", BindingFlags.Instance | BindingFlags.NonPublic)!.GetValue(
            Activator.CreateInstance(fixture)) as string;

    private static IEnumerable<string> ClaimsOfTests() => SuiteTests().SelectMany(m => m.GetCustomAttribute<ClaimAttribute>()?.Ids ?? [])
        .Distinct();

    [Test]
    public void The_catalogue_keeps_its_schema()
    {
        var schema = Path.Combine(s_root, "conformance", "claims.schema.json");
        foreach (var file in Claims.Chapters.Select(c => Path.Combine(s_conformance, FolderOf(c), "claims.yaml")))
        {
            var text = File.ReadAllText(file);
            Schemas.Validate(schema, Schemas.ToJson(text)).ShouldBeEmpty(file);
            Schemas.Validate(schema, Schemas.ToJson(text.Replace("article: ", "article: perhaps ", StringComparison.Ordinal)))
                .ShouldNotBeEmpty();
            Schemas.Validate(schema, Schemas.ToJson(text.Replace("    method: ", "    methods: ", StringComparison.Ordinal)))
                .ShouldNotBeEmpty();
        }
    }
}
