using CliWrap.Buffered;
using Conformance.Clusters.Proxies;
using Conformance.Reports;

namespace Conformance.Tests.Reports;

/// <summary>Two runs, compared by what users notice.</summary>
public sealed class MigrationTests
{
    [Test]
    public void Every_topic_names_claims_features_and_a_command()
    {
        foreach (var topic in MigrationTopic.All)
        {
            topic.Claims.Except(SampleRun.Claims.Claims.Keys, StringComparer.Ordinal).ShouldBeEmpty(topic.Title);
            Should.NotThrow(() => topic.Features.Select(FeatureChange.Parse).ToList(), topic.Title);
            topic.Notice.ShouldNotBeEmpty(topic.Title);
            topic.Check.ShouldNotBeEmpty(topic.Title);
        }
        MigrationTopic.All.Select(t => t.Title).ShouldBeUnique();
    }

    [Test]
    public void Differences_stand_under_their_topic_and_others_at_the_end()
    {
        using var from = new SampleRun(("REFUSE-8", Verdict.Holds), ("AFFINITY-3", Verdict.Violated), ("SNAT-1", Verdict.Violated),
            ("ADDR-1", Verdict.Holds));
        using var to = new SampleRun(("REFUSE-8", Verdict.Holds), ("AFFINITY-3", Verdict.Holds), ("SNAT-1", Verdict.Holds),
            ("ADDR-1", Verdict.Holds));
        to.Add("REFUSE-8", SampleRun.TestOf("REFUSE-8", Verdict.Holds, outcomeClass: "silence"));
        (to.Results.Run with { SupportedFeatures = ["sctp", "node-hints"] }).Write(to.Folder);

        var report = MigrationReport.Of(from.Results, to.Results);

        report.Entries.Select(e => (e.Topic?.Title, string.Join(' ', e.Claims.Select(c => c.Id)))).ShouldBe([
            ("Ports that a Service does not have", "REFUSE-8"), ("Session affinity", "AFFINITY-3"),
            ("Sockets of the node behind a Service address", "REFUSE-8"), (null, "SNAT-1")]);
        report.Entries[^1].ShouldSatisfyAllConditions(e => e.Lost.ShouldBe(["ipv6"]), e => e.Gained.ShouldBe(["node-hints"]));
        var page = report.ToMarkdown();
        page.ShouldContain("| REFUSE-8 | holds | holds | answer-from-wrong-address → silence |");
        page.ShouldContain("| AFFINITY-3 | violated | holds |");
        page.ShouldContain("    ipvsadm -Ln | grep persistent");
        page.ShouldNotContain("| ADDR-1 |");
    }

    [Test]
    public void A_feature_that_one_proxy_lacks_is_a_topic_without_claims()
    {
        using var from = new SampleRun(("ADDR-1", Verdict.Holds));
        using var to = new SampleRun(("ADDR-1", Verdict.Holds));
        (from.Results.Run with { SupportedFeatures = ["ipv6", "sctp", "ipvs"] }).Write(from.Folder);

        MigrationReport.Of(from.Results, to.Results).Entries.ShouldHaveSingleItem().Topic!.Title.ShouldBe("Order of endpoints");
        MigrationReport.Of(to.Results, to.Results).ToMarkdown().ShouldContain("No claim differs");
    }

    [Test]
    public async Task The_verb_takes_stored_runs_and_refuses_what_is_neither_run_nor_proxy()
    {
        using var from = new SampleRun(("AFFINITY-3", Verdict.Violated));
        using var to = new SampleRun(("AFFINITY-3", Verdict.Holds));
        var file = Path.Combine(from.Folder, "migration.md");

        var made = await LabProgram.Command("migrate", "--from", from.Folder, "--to", to.Folder, "--output", file).ExecuteBufferedAsync();
        var refused = await LabProgram.Command("migrate", "--from", from.Folder, "--to", "cilium").ExecuteBufferedAsync();

        made.ExitCode.ShouldBe(0, made.StandardError);
        made.StandardOutput.ShouldContain("## Session affinity");
        File.ReadAllText(file).TrimEnd().ShouldBe(made.StandardOutput.TrimEnd());
        File.ReadAllText(Path.ChangeExtension(file, ".html")).ShouldContain("AFFINITY-3");
        refused.ExitCode.ShouldNotBe(0);
        refused.StandardError.ShouldContain("There is no proxy 'cilium'");
    }
}
