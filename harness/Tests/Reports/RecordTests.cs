using System.Text.Json.Nodes;
using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Tests.Reports;

/// <summary>What a run stores, and what is read back when some of it is damaged.</summary>
public sealed class RecordTests
{
    private static readonly string s_schemas = Path.Combine(ProjectFolder.Root, "reports", "schema");

    /// <returns>One line for each violation of the schema of claim records.</returns>
    internal static List<string> Validate(string json) => Schemas.Validate(Path.Combine(s_schemas, "claim.schema.json"), json);

    [Test]
    public void A_record_matches_its_schema_and_is_read_back()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Violated));
        var json = File.ReadAllText(run.PathOf(SampleRun.Story));

        Validate(json).ShouldBeEmpty();
        ClaimRecord.Parse(json).ToJson().ShouldBe(json);
    }

    [Test]
    public void A_run_matches_its_schema_and_is_read_back()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds));
        var json = File.ReadAllText(Path.Combine(run.Folder, RunRecord.FileName));

        ValidateRun(json).ShouldBeEmpty();
        ValidateRun(RunRecord.Of(run.Folder).ToJson()).ShouldBeEmpty();
        ValidateRun(json.Replace("\"claims\"", "\"claim\"", StringComparison.Ordinal)).ShouldNotBeEmpty();
        RunRecord.Parse(json).ToJson().ShouldBe(json);

        static List<string> ValidateRun(string text) => Schemas.Validate(Path.Combine(s_schemas, "run.schema.json"), text);
    }

    [TestCase("\"verdict\": \"violated\"", "\"verdict\": \"perhaps\"")]
    [TestCase("\"id\": \"SNAT-1\"", "\"id\": 1")]
    [TestCase("\"observed\"", "\"observation\"")]
    [TestCase("\"method\"", "\"way\"")]
    [TestCase("\"direction\": \"out\"", "\"direction\": \"up\"")]
    public void A_record_that_violates_the_schema_is_found(string good, string wrong)
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Violated));
        var json = File.ReadAllText(run.PathOf(SampleRun.Story));

        json.ShouldContain(good);
        Validate(json.Replace(good, wrong, StringComparison.Ordinal)).ShouldNotBeEmpty();
    }

    [Test]
    public void A_claim_is_as_bad_as_its_worst_test()
    {
        using var run = new SampleRun();
        var recorder = new ClaimRecorder(run.Folder, SampleRun.Claims, new KernelRecord("uml", "6.1"),
            new Dictionary<string, string>(StringComparer.Ordinal));
        recorder.Add(["VS-8"], SampleRun.TestOf("VS-8", Verdict.Holds));
        recorder.Add(["VS-8", "VS-9"], SampleRun.TestOf("VS-8", Verdict.NotTestable));
        recorder.Add(["VS-8"], SampleRun.TestOf("VS-8", Verdict.Holds));

        var claims = run.Results.Claims.ToDictionary(c => c.Id, StringComparer.Ordinal);

        claims["VS-8"].Verdict.ShouldBe(Verdict.NotTestable);
        claims["VS-9"].Verdict.ShouldBe(Verdict.NotTestable);
        claims["VS-8"].Tests.Count.ShouldBe(3);
    }

    [Test]
    public void A_provisional_claim_that_is_violated_does_not_fail_a_run()
    {
        var provisional = SampleRun.Claims.Claims.Values.First(c => c.Provisional).Id;

        IsGood(provisional, Verdict.Violated).ShouldBeTrue();
        IsGood(provisional, Verdict.Broken).ShouldBeFalse();
        IsGood(SampleRun.Core, Verdict.Violated).ShouldBeFalse();
        IsGood(SampleRun.Core, Verdict.NotSupported).ShouldBeTrue();

        static bool IsGood(string claim, Verdict verdict)
        {
            using var run = new SampleRun((claim, verdict));
            return run.Results.IsGood;
        }
    }

    [Test]
    public void A_missing_record_is_named_and_the_rest_is_read()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Holds));
        File.Delete(run.PathOf(SampleRun.Core));

        run.Results.Faults.ShouldBe([$"{SampleRun.Core}.json is missing."]);
        run.Results.Claims.Select(c => (c.Id, c.Verdict)).ShouldBe([(SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Broken)]);
    }

    [TestCase("")]
    [TestCase("{")]
    [TestCase("{}")]
    [TestCase("null")]
    [TestCase("[]")]
    [TestCase("""{ "schema": 3 }""")]
    public void A_damaged_record_is_named_and_the_rest_is_read(string text)
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Holds));
        File.WriteAllText(run.PathOf(SampleRun.Core), text);

        run.Results.Faults.ShouldHaveSingleItem().ShouldStartWith($"{SampleRun.Core}.json cannot be read: ");
        run.Results.Claims.Select(c => (c.Id, c.Verdict)).ShouldBe([(SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Broken)]);
        ReportFiles.Write(run.Results, Maker.Unknown);
    }

    [Test]
    public void A_record_without_one_of_its_parts_is_damaged()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds));
        var json = File.ReadAllText(run.PathOf(SampleRun.Story));
        foreach (var part in new[] { "flows", "packets", "tests", "article", "entries", "kernel" })
        {
            File.WriteAllText(run.PathOf(SampleRun.Story), json.Replace($"\"{part}\"", "\"other\"", StringComparison.Ordinal));
            run.Results.Faults.ShouldHaveSingleItem(part);
            var tree = JsonNode.Parse(json)!;
            Remove(tree, part);
            File.WriteAllText(run.PathOf(SampleRun.Story), tree.ToJsonString());
            run.Results.Faults.ShouldHaveSingleItem(part);
        }

        static void Remove(JsonNode? node, string name)
        {
            if (node is JsonObject named && named.ContainsKey(name))
                named[name] = null;
            foreach (var child in node is JsonObject o ? o.Select(p => p.Value) : node as JsonArray ?? [])
                Remove(child, name);
        }
    }

    [TestCase("\"id\": \"SNAT-1\"", "\"id\": \"../../x\"")]
    [TestCase("\"id\": \"SNAT-1\"", "\"id\": \"SNAT-2\"")]
    [TestCase("\"verdict\": \"holds\"", "\"verdict\": 7")]
    [TestCase("\"durationMs\": 1500", "\"durationMs\": 1e999")]
    [TestCase("\"flows\": [", "\"flows\": [ null,")]
    public void A_hostile_record_is_damaged(string good, string wrong)
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds));
        var json = File.ReadAllText(run.PathOf(SampleRun.Story));

        json.ShouldContain(good);
        File.WriteAllText(run.PathOf(SampleRun.Story), json.Replace(good, wrong, StringComparison.Ordinal));

        run.Results.Faults.ShouldHaveSingleItem().ShouldStartWith("SNAT-1.json cannot be read");
        run.Results.IsGood.ShouldBeFalse();
    }

    [Test]
    public void A_run_that_names_a_claim_twice_or_a_path_is_read()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds));
        (run.Results.Run with { Claims = [SampleRun.Story, SampleRun.Story, "../x"] }).Write(run.Folder);

        run.Results.Claims.Select(c => c.Id).ShouldBe([SampleRun.Story]);
    }

    [Test]
    public void A_run_with_a_fault_or_without_claims_does_not_pass()
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds));
        run.Results.IsGood.ShouldBeTrue();
        (run.Results.Run with { Faults = ["The kernel died."] }).Write(run.Folder);
        run.Results.IsGood.ShouldBeFalse();
        using var empty = new SampleRun();
        empty.Results.IsGood.ShouldBeFalse();
        Badge.ToSvg(empty.Results).ShouldContain("#b42318");
    }

    [TestCase("{}")]
    [TestCase("no json")]
    [TestCase(null)]
    public void A_run_without_a_readable_run_record_is_reported_by_its_claims(string? text)
    {
        using var run = new SampleRun((SampleRun.Story, Verdict.Holds));
        var file = Path.Combine(run.Folder, RunRecord.FileName);
        if (text is null)
            File.Delete(file);
        else
            File.WriteAllText(file, text);

        run.Results.Faults.ShouldHaveSingleItem().ShouldStartWith(RunRecord.FileName);
        run.Results.Claims.Select(c => c.Id).ShouldBe([SampleRun.Story]);
        run.Results.Kernel!.Release.ShouldBe("6.1.176");
    }
}
