using System.Diagnostics;
using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Traffic;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

[assembly: Conformance.Suite.RecordClaims]
// On one processor: enough that one test's time-out is another's working time, and few enough that servers answer in time.
[assembly: LevelOfParallelism(12)]

namespace Conformance.Suite;

/// <summary>
/// Around every test: writes its verdict into the record of each claim that it names. A skip without one of the two
/// reasons that a claim can have is turned into a failure.
/// </summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class RecordClaimsAttribute : Attribute, ITestAction
{
    private const string StartProperty = "StartedAtTicks";
    private static readonly Lazy<ClaimRecorder> s_recorder = new(CreateRecorder);

    public ActionTargets Targets => ActionTargets.Test;

    public void BeforeTest(ITest test) => test.Properties.Set(StartProperty, Stopwatch.GetTimestamp());

    public void AfterTest(ITest test)
    {
        var result = TestContext.CurrentContext.Result;
        var ids = Claims.IdsOf(test).ToList();
        var evidence = Evidence.Of(test);
        var verdict = Verdicts.Of(result.Outcome.Status.ToString(), result.Outcome.Label, result.Message);
        if (result.Outcome.Status == TestStatus.Skipped && verdict == Verdict.Broken)
            TestExecutionContext.CurrentContext.CurrentResult.SetResult(ResultState.Error,
                $"Skipped without a reason that a claim can have: '{result.Message}'");
        var started = test.Properties.Get(StartProperty) is long ticks ? Stopwatch.GetElapsedTime(ticks) : TimeSpan.Zero;
        s_recorder.Value.Add(ids, new TestRecord(
            test.FullName, evidence.Topology, evidence.Implementation, verdict, Math.Round(started.TotalMilliseconds, 3), result.Message,
            evidence.Observed, evidence.Steps, evidence.Flows, evidence.Tables, evidence.Attachments));
    }

    private static ClaimRecorder CreateRecorder() => new(RunFolder.Current, Claims.Catalogue, SuiteSetUp.Kernel, ToolVersions.All);
}
