using System.Xml.Linq;
using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Tests.Reports;

/// <summary>The reports say what the records say.</summary>
public sealed class ReportTests
{
    private const string Extended = "HEALTH-1"; // needs the feature health-check-node-port
    private static readonly Maker s_maker = new("Example", "my-proxy", "https://example.org", ["a@example.org"]);

    [Test]
    public void The_conformance_report_matches_its_schema()
    {
        using var run = new SampleRun([.. SampleRun.Claims.Claims.Keys.Select((id, i) => (id, (Verdict)(i % 5)))]);
        var json = Schemas.ToJson(ConformanceReport.ToYaml(run.Results, s_maker));

        Validate(json).ShouldBeEmpty();
        Validate(json.Replace("failure", "perfect", StringComparison.Ordinal)).ShouldNotBeEmpty();
        Validate(json.Replace("\"statistics\"", "\"figures\"", StringComparison.Ordinal)).ShouldNotBeEmpty();

        static List<string> Validate(string text) =>
            Schemas.Validate(Path.Combine(ProjectFolder.Root, "reports", "schema", "conformance-report.schema.json"), text);
    }

    [TestCase(Verdict.Holds, "success", "Passed: 1")]
    [TestCase(Verdict.NotTestable, "partial", "Skipped: 1")]
    [TestCase(Verdict.Violated, "failure", "Failed: 1")]
    [TestCase(Verdict.Broken, "failure", "Failed: 1")]
    public void A_profile_is_as_bad_as_its_claims(Verdict verdict, string result, string statistics)
    {
        using var run = new SampleRun((SampleRun.Core, verdict));
        var yaml = ConformanceReport.ToYaml(run.Results, s_maker);

        yaml.ShouldContain($"result: {result}\n");
        yaml.ShouldContain($"{statistics}\n");
    }

    [Test]
    public void Claims_that_need_a_feature_are_extended_and_unsupported_ones_count_nowhere()
    {
        SampleRun.Claims.Claims[Extended].Features.ShouldNotBeEmpty();
        using var run = new SampleRun((SampleRun.Core, Verdict.Holds), (Extended, Verdict.NotSupported));

        var profile = Profile.Of(run.Results).Single(p => p.Name == SampleRun.Claims.Claims[Extended].Profile);

        profile.Extended.Count.ShouldBe(0);
        profile.Extended.Result.ShouldBe(ProfileResult.Success);
        profile.Core.Count.ShouldBe(0);
        using var supported = new SampleRun((Extended, Verdict.Violated));
        Profile.Of(supported.Results).Single().Extended.Failed.ShouldBe([Extended]);
    }

    [Test]
    public void Provisional_claims_are_lists_of_their_own()
    {
        var (first, second) = SampleRun.Claims.Claims.Values.Where(c => c.Provisional).Select(c => c.Id).ToList() is [var a, var b, ..]
            ? (a, b) : throw new InvalidOperationException("The catalogue has fewer than two provisional claims.");
        using var run = new SampleRun((first, Verdict.Holds), (second, Verdict.Violated));
        var yaml = ConformanceReport.ToYaml(run.Results, s_maker);

        yaml.ShouldContain($"succeededProvisionalTests:\n  - {first}\n");
        yaml.ShouldContain($"failedProvisionalTests:\n  - {second}\n");
        yaml.ShouldNotContain("result: failure");
    }

    [Test]
    public void Junit_xml_has_a_case_for_each_test_whatever_it_printed()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Violated), (SampleRun.Core, Verdict.Holds),
            (Extended, Verdict.NotSupported));
        run.Add(SampleRun.Core, SampleRun.TestOf(SampleRun.Core, Verdict.Broken) with { Reason = "a\0b\u001b[31m ]]> \ud800" });
        File.Delete(run.PathOf("VS-8"));

        var suite = XDocument.Parse(JunitReport.ToXml(run.Results)).Root!.Element("testsuite")!;

        suite.Elements("testcase").Select(c => c.Attribute("name")!.Value).ShouldBe(
            ["Test_of_ADDR_1(\"a.b\")", "Test_of_HEALTH_1(\"a.b\")", "Test_of_SNAT_1(\"a.b\")"]);
        suite.Elements("testcase").ShouldAllBe(c => c.Attribute("classname")!.Value == "Conformance.Suite.Snat.WithoutSnat");
        suite.Elements("testcase").Select(c => c.Elements().Last().Name.LocalName).ShouldBe(["failure", "skipped", "failure"]);
        suite.Attribute("tests")!.Value.ShouldBe("3");
        suite.Attribute("failures")!.Value.ShouldBe("2");
        suite.Attribute("skipped")!.Value.ShouldBe("1");
        suite.Descendants("property").Select(p => p.Attribute("value")!.Value).ShouldBe([SampleRun.Core, Extended, SampleRun.Story]);
    }

    [Test]
    public void Junit_xml_counts_a_claim_without_a_record_as_failed()
    {
        using var run = new SampleRun((SampleRun.Core, Verdict.Holds), (SampleRun.Story, Verdict.Holds));
        File.Delete(run.PathOf(SampleRun.Core));

        var suite = XDocument.Parse(JunitReport.ToXml(run.Results)).Root!.Element("testsuite")!;

        suite.Attribute("tests")!.Value.ShouldBe("2");
        suite.Attribute("failures")!.Value.ShouldBe("1");
    }

    [Test]
    public void The_summary_has_counts_profiles_errata_and_reasons()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Violated), (SampleRun.Core, Verdict.Holds));
        var text = MarkdownSummary.Of(run.Results);

        text.ShouldContain("1 holds, 0 not-supported, 0 not-testable, 1 violated, 0 broken.");
        text.ShouldContain("| ClusterIP | success: 1 of 1 |");
        text.ShouldContain("| SNAT-1 | violated | imprecise |");
        text.ShouldContain("## SNAT-1: violated");
        text.ShouldContain("not what was expected");
    }

    [TestCase(Verdict.Holds, "1 of 1 hold", "#1a7f37")]
    [TestCase(Verdict.Violated, "0 of 1 hold", "#b42318")]
    public void The_badge_has_the_count(Verdict verdict, string text, string colour)
    {
        using var run = new SampleRun((SampleRun.Core, verdict));

        Badge.ToSvg(run.Results).ShouldContain(text);
        XDocument.Parse(Badge.ToSvg(run.Results)).ToString().ShouldContain(colour);
    }

    /// <summary>No number of a report comes from elsewhere: with each record changed, every report changes.</summary>
    [Test]
    public void A_changed_record_changes_every_report()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Holds));
        var before = Written();

        File.WriteAllText(run.PathOf(SampleRun.Core), File.ReadAllText(run.PathOf(SampleRun.Core))
            .Replace("\"verdict\": \"holds\"", "\"verdict\": \"violated\"", StringComparison.Ordinal));

        foreach (var (name, text) in Written())
            text.ShouldNotBe(before[name], name);

        Dictionary<string, string> Written()
        {
            ReportFiles.Write(run.Results, s_maker);
            return ReportFiles.Names.ToDictionary(n => n, n => File.ReadAllText(Path.Combine(run.Folder, n)), StringComparer.Ordinal);
        }
    }

    [Test]
    public void The_page_says_what_each_job_has_shown_last_and_which_have_not_run()
    {
        using var run = new SampleRun();
        var artifacts = Path.Combine(run.Folder, "artifacts");
        foreach (var (isGood, finding) in new[] { (true, "an older finding"), (false, "<a newer finding>") })
            new TrustRecord("fuzz", DateTimeOffset.UnixEpoch, "abc1234", "", "./lab fuzz --seed 7", isGood, 1, [finding]).Write(artifacts);
        File.WriteAllText(Path.Combine(artifacts, TrustRecord.FolderName, "flows.json"), "{");

        var text = TrustSection.Render(Path.Combine(artifacts, "run"));

        text.ShouldContain("&lt;a newer finding&gt;");
        text.ShouldContain("Not all was as it must be");
        text.ShouldContain("<code>./lab fuzz --seed 7</code>");
        text.ShouldNotContain("older");
        text.ShouldContain("No result here: <code>./lab soak</code>");
    }
}
