using CliWrap.Buffered;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
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
            topic.Facts.Except(FactsOfTheSuite(), StringComparer.Ordinal).ShouldBeEmpty(topic.Title);
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

    /// <summary>The ids that the suite's fixture of facts writes, as its source has them.</summary>
    private static IReadOnlyList<string> FactsOfTheSuite()
    {
        var source = File.ReadAllText(Path.Combine(ProjectFolder.Root, "conformance", "Observations", "ProxyFacts.cs"));
        var ids = new List<string>();
        foreach (var (call, prefix) in new[] { ("Record(", ""), ("RecordOutcomeAsync(", ""), ("OfTime(", ""), ("RecordSourceAsync(",
            "source-of-") })
            ids.AddRange(source.Split(call).Skip(1).Select(t => t.TrimStart()).Where(t => t.StartsWith('"'))
                .Select(t => prefix + t.Split('"')[1]));
        ids.AddRange(new[] { "client", "pod", "node" }.Select(from => $"ping-from-{from}"));
        return ids;
    }

    [Test]
    public void Facts_stand_under_their_topic_and_a_time_counts_when_it_is_twice_as_long()
    {
        using var from = new SampleRun(("ADDR-1", Verdict.Holds));
        using var to = new SampleRun(("ADDR-1", Verdict.Holds));
        (from.Results.Run with
        {
            Facts = [new("ping-from-pod", "ping from a pod", "refused"), new("unused-port", "an unused port", "refused"),
                FactRecord.OfTime("time-to-converge", "a change", TimeSpan.FromMilliseconds(100)), new("only-here", "gone", "x"),
                FactRecord.OfTime("quick", "a quick change", TimeSpan.FromMilliseconds(2)), new("my-own", "something", "x")]
        }).Write(from.Folder);
        (to.Results.Run with
        {
            Facts = [new("ping-from-pod", "ping from a pod", "answered by node1"), new("unused-port", "an unused port", "refused"),
                FactRecord.OfTime("time-to-converge", "a change", TimeSpan.FromMilliseconds(201)),
                FactRecord.OfTime("quick", "a quick change", TimeSpan.FromMilliseconds(40)), new("my-own", "something", "y")]
        }).Write(to.Folder);

        var report = MigrationReport.Of(from.Results, to.Results);

        report.Entries.Select(e => (e.Topic?.Title, string.Join(' ', e.Facts.Select(f => f.Id)))).ShouldBe([
            ("Ping of a Service address", "ping-from-pod"), ("Time until a change is served", "time-to-converge"), (null, "my-own")]);
        var page = report.ToMarkdown();
        page.ShouldContain("| ping from a pod | refused | answered by node1 |");
        page.ShouldContain("| a change | 100 ms | 201 ms |");
        page.ShouldContain("| an unused port | refused | refused |  |");
        page.ShouldContain("| gone | x | not observed |  |");
        MigrationReport.Of(from.Results, from.Results).Entries.ShouldBeEmpty();
    }

    [Test]
    public void Facts_of_shards_are_those_of_the_run()
    {
        using var run = new SampleRun(("ADDR-1", Verdict.Holds));
        var suites = new[] { "b", "a" }.Select(id => RunRecord.Of(run.Folder) with { Facts = [new(id, "t", "v")] }).ToList();

        run.Results.Run.With(suites).Facts.Select(f => f.Id).ShouldBe(["a", "b"]);
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
