using Conformance.Reports;

namespace Conformance.Tests.Reports;

/// <summary>Runs beside each other: shards that are joined, and two runs that are compared.</summary>
public sealed class SeveralRunsTests
{
    [Test]
    public void Joined_shards_are_one_run()
    {
        using var first = new SampleRun((SampleRun.Story, Verdict.Holds));
        using var second = new SampleRun((SampleRun.Core, Verdict.Violated));
        using var joined = new SampleRun();

        RunMerge.Into(joined.Folder, [second.Results, first.Results]);

        joined.Results.Faults.ShouldBeEmpty();
        joined.Results.Claims.Select(c => (c.Id, c.Verdict))
            .ShouldBe([(SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Violated)]);
        joined.Results.Run.Claims.ShouldBe([SampleRun.Story, SampleRun.Core]);
        joined.Results.Run.Implementation.ShouldBe(SampleRun.Proxy);
        File.Exists(Path.Combine(joined.Folder, "captures", "x.pcap")).ShouldBeTrue();
    }

    [Test]
    public void A_missing_shard_and_the_faults_of_the_others_are_faults_of_the_joined_run()
    {
        using var first = new SampleRun((SampleRun.Story, Verdict.Holds));
        using var joined = new SampleRun();
        (first.Results.Run with { Shard = "1/3", Faults = ["The kernel died."] }).Write(first.Folder);

        RunMerge.Into(joined.Folder, [first.Results]);

        joined.Results.Faults.ShouldBe(
            [$"{first.Results.Run.Run}: The kernel died.", "The shard 2/3 is missing.", "The shard 3/3 is missing."]);
    }

    [Test]
    public void Runs_that_are_no_shards_of_one_run_are_refused()
    {
        using var first = new SampleRun((SampleRun.Story, Verdict.Holds));
        using var same = new SampleRun((SampleRun.Story, Verdict.Holds));
        using var other = new SampleRun((SampleRun.Core, Verdict.Holds));
        using var joined = new SampleRun();
        (other.Results.Run with { Implementation = new ImplementationRecord("generator", "2") }).Write(other.Folder);

        Should.Throw<FormatException>(() => RunMerge.Into(joined.Folder, [first.Results, same.Results])).Message.ShouldContain("is in ");
        Should.Throw<FormatException>(() => RunMerge.Into(joined.Folder, [first.Results, other.Results])).Message.ShouldContain(
            "generator 2");
    }

    [Test]
    public void Runs_differ_in_verdicts_and_outcomes_but_not_in_ports()
    {
        using var before = new SampleRun((SampleRun.Story, Verdict.Holds), ("SNAT-2", Verdict.Holds), ("SNAT-3", Verdict.Holds),
            ("SNAT-4", Verdict.Holds));
        using var after = new SampleRun((SampleRun.Story, Verdict.Holds), ("SNAT-2", Verdict.Violated), ("SNAT-3", Verdict.Holds));
        after.Add("SNAT-3", SampleRun.TestOf("SNAT-3", Verdict.Holds, outcomeClass: "silence"));
        File.WriteAllText(after.PathOf(SampleRun.Story),
            File.ReadAllText(after.PathOf(SampleRun.Story)).Replace("43731", "50000", StringComparison.Ordinal));

        var differences = RunComparison.Of(before.Results, after.Results);

        differences.Select(d => (d.Id, d.Before.Verdict, d.After.Verdict)).ShouldBe(
            [("SNAT-2", Verdict.Holds, Verdict.Violated), ("SNAT-3", Verdict.Holds, Verdict.Holds)]);
        RunComparison.CountInOneOnly(before.Results, after.Results).ShouldBe(1);
        differences[1].Outcomes.ShouldBe("answer-from-wrong-address -> silence");
    }
}
