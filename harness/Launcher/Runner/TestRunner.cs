using System.Diagnostics;
using System.Reflection;
using System.Runtime.Loader;
using System.Text.Json;
using System.Text.Json.Serialization;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using NUnit;
using NUnit.Framework;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Conformance.Launcher.Runner;

/// <summary>One line of the runner's output: a test that has ended, or the end of an assembly.</summary>
/// <param name="Kind">
/// "start" of an assembly (with the number of tests, and the claims of this kernel and those beside it), "test", "wait" (a test waits
/// for something that has a limit), "end" of an assembly, or "unmatched" (a word of the filter that selected nothing).
/// </param>
/// <param name="Name">The assembly, the word, or the test's full name.</param>
/// <param name="ShortName">The test's method with its arguments.</param>
/// <param name="Fixture">The class of the test's fixture.</param>
/// <param name="Outcome">passed, failed, broken, skipped; of an end: the worst.</param>
public sealed record RunnerEvent(string Kind, string Name, string Outcome, double Ms, string? Message, int Count,
    IReadOnlyList<string> Claims, string? ShortName = null, string? Fixture = null)
{
    /// <summary>
    /// The processor time of the whole kernel. Of an end: since the runner's start. Of a test: since the end of the test before it; 0
    /// unless one test runs at a time.
    /// </summary>
    public double ProcessorMs { get; init; }

    /// <summary>Of an end: how many waits there were.</summary>
    public int Waits { get; init; }

    /// <summary>Of an end: in how many waits the machine gave this process no time for half a second or longer.</summary>
    public int Starved { get; init; }

    /// <summary>Whether a test's outcome lets the run pass; a skip that comes this far has one of the two reasons that excuse it.</summary>
    [JsonIgnore]
    public bool IsGood => Outcome is "passed" or "skipped";
}

/// <summary>
/// Runs NUnit in this process, without VSTest's two processes and their protocol: in the lab kernel that saves three
/// seconds of every run. Writes a <see cref="RunnerEvent"/> as JSON for every test on standard output.
/// </summary>
internal static class TestRunner
{
    internal const string Verb = "run-tests";

    /// <summary>Lets one test run at a time, so that what each takes is its own.</summary>
    internal const string SingleVariable = "CONFORMANCE_SINGLE";

    private const int WorkersOfSlowProxies = 64;
    private const double SlowProxyFactor = 20; // a change takes such a proxy 10 s, and ours half a second
    private static readonly TimeSpan s_betweenWaits = TimeSpan.FromSeconds(5);
    private static readonly double s_processorMs = ProcessorMs();

    /// <summary>Runs <c>run-tests FILTER ASSEMBLY...</c>; an empty filter selects everything.</summary>
    /// <returns>0 when all passed, 1 when not, 2 when nothing was selected.</returns>
    internal static int Run(string[] args)
    {
        var filter = SelectionFilter.Parse(args[0]);
        using var output = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        Console.SetOut(Console.Error); // standard output is for events
        ReportWaits(output);
        var total = 0;
        var good = true;
        foreach (var path in args[1..])
        {
            var (count, isGood) = RunAssembly(path, filter, output);
            total += count;
            good &= isGood;
        }
        foreach (var word in (filter as SelectionFilter)?.UnmatchedWords ?? [])
            Write(output, new RunnerEvent("unmatched", word, "", 0, null, 0, []));
        if (!good)
            return ExitCodes.Violated;
        return total == 0 ? ExitCodes.NothingRan : ExitCodes.Ok;
    }

    /// <summary>Writes an event at most every five seconds while tests wait.</summary>
    private static void ReportWaits(StreamWriter output)
    {
        var last = 0L;
        Heartbeat.Beaten = () =>
        {
            var (now, before) = (Environment.TickCount64, Interlocked.Read(ref last));
            if (now - before >= s_betweenWaits.TotalMilliseconds && Interlocked.CompareExchange(ref last, now, before) == before)
                Write(output, new RunnerEvent("wait", "", "", 0, null, 0, []));
        };
    }

    private static (int Count, bool IsGood) RunAssembly(string path, ITestFilter filter, StreamWriter output)
    {
        var resolver = new AssemblyDependencyResolver(path);
        AssemblyLoadContext.Default.Resolving += (context, name) =>
            resolver.ResolveAssemblyToPath(name) is { } file ? context.LoadFromAssemblyPath(file) : null;
        var assembly = AssemblyLoadContext.Default.LoadFromAssemblyPath(path);
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        var settings = new Dictionary<string, object>(StringComparer.Ordinal);
        var isSlow = Environment.GetEnvironmentVariable(Proxy.Variable) is { Length: > 0 } proxy && Proxy.Parse(proxy).IsSlow;
        if (isSlow)
            settings[FrameworkPackageSettings.NumberOfTestWorkers] = WorkersOfSlowProxies; // wins over the assembly's own number
        var isSingle = Environment.GetEnvironmentVariable(SingleVariable) is { Length: > 0 };
        if (isSingle)
            settings[FrameworkPackageSettings.NumberOfTestWorkers] = 1;
        var root = runner.Load(assembly, settings);
        Shard.PutLongestFirst(root);
        if (isSlow)
            ShareLanes(root);
        var shards = Environment.GetEnvironmentVariable(RunFolder.ShardVariable) is { Length: > 0 } text ? text.Split(' ') : [];
        // The last shard is this kernel's: what is there before it belongs to all kernels of the run.
        List<ITest> ofAllKernels = [.. Leaves(root).Where(t => filter.Pass(t))], selected = ofAllKernels;
        foreach (var shard in shards.Select(Shard.Parse))
            (ofAllKernels, selected) = (selected, shard.Choose(selected, isSlow ? SlowProxyFactor : 1));
        Write(output, new RunnerEvent("start", assembly.GetName().Name!, root.RunState == RunState.NotRunnable ? "broken" : "", 0,
            root.Properties.Get("_SKIPREASON") as string,
            selected.Count, [.. ofAllKernels.SelectMany(ClaimsOf).Distinct(StringComparer.Ordinal)]));
        if (selected.Count == 0)
            return (0, root.RunState != RunState.NotRunnable);

        var watch = Stopwatch.StartNew();
        var listener = new Listener(output, isSingle);
        var result = runner.Run(listener, new IdFilter(selected.Select(t => t.Id).ToHashSet(StringComparer.Ordinal)));
        var good = result.ResultState.Status != TestStatus.Failed && listener.IsGood;
        Write(output, new RunnerEvent("end", assembly.GetName().Name!, good ? "passed" : "failed", watch.Elapsed.TotalMilliseconds,
            result.ResultState.Site is FailureSite.SetUp or FailureSite.TearDown ? result.Message : null, selected.Count, [])
        { Waits = Patience.Waits.Count, Starved = Patience.Waits.Starved, ProcessorMs = ProcessorMs() - s_processorMs });
        return (selected.Count, good);
    }

    /// <summary>
    /// Tests that take turns on one cluster are one after another, so that they hold no worker. A slow proxy has several such clusters
    /// and workers enough: there the cluster itself decides whose turn it is.
    /// </summary>
    private static void ShareLanes(ITest test)
    {
        if (test.Properties.Get(PropertyNames.ParallelScope) is ParallelScope.Self)
            test.Properties.Set(PropertyNames.ParallelScope, ParallelScope.All);
        foreach (var member in test.Tests)
            ShareLanes(member);
    }

    internal static IEnumerable<ITest> Leaves(ITest test) => test.IsSuite ? test.Tests.SelectMany(Leaves) : [test];

    /// <summary>The claims that a test names, or the suite of the cases of its method.</summary>
    internal static IEnumerable<string> ClaimsOf(ITest? test) => test is null ? []
        : test.Properties["Claim"].Cast<string>().Concat(ClaimsOf(test.Parent));

    private static void Write(StreamWriter output, RunnerEvent line)
    {
        lock (output)
            output.WriteLine(JsonSerializer.Serialize(line, RunnerJson.Default.RunnerEvent));
    }

    /// <summary>What all processors have worked: user, nice and system of proc_stat(5), in ticks of 10 ms.</summary>
    private static double ProcessorMs() => 10 * File.ReadLines("/proc/stat").First()
        .Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..4]
        .Sum(t => double.Parse(t, System.Globalization.CultureInfo.InvariantCulture));

    private sealed class Listener(StreamWriter output, bool isSingle) : ITestListener
    {
        private double _before = ProcessorMs();

        internal bool IsGood { get; private set; } = true;

        public void TestFinished(ITestResult result)
        {
            if (result.Test.IsSuite)
            {
                // A fixture's own set-up or tear-down failed: its tests may never have started, so it must be reported.
                if (result.ResultState.Site is FailureSite.SetUp or FailureSite.TearDown && result.ResultState.Status == TestStatus.Failed)
                {
                    IsGood = false;
                    Write(output, new RunnerEvent("test", result.FullName, "broken", result.Duration * 1000, result.Message, 0, [],
                        result.Name));
                }
                return;
            }
            var outcome = OutcomeOf(result);
            IsGood &= outcome is "passed" or "skipped";
            var (before, now) = (_before, isSingle ? ProcessorMs() : _before);
            _before = now;
            Write(output, new RunnerEvent("test", result.FullName, outcome, result.Duration * 1000,
                outcome == "passed" ? null : $"{result.Message}\n{(outcome == "broken" ? result.StackTrace : null)}".Trim(), 1,
                    [.. ClaimsOf(result.Test)], result.Name, Shard.FixtureOf(result.Test))
            { ProcessorMs = now - before });
        }

        public void TestStarted(ITest test)
        {
        }

        public void TestOutput(TestOutput output)
        {
        }

        public void SendMessage(TestMessage message)
        {
        }

        private static string OutcomeOf(ITestResult result) =>
            Verdicts.Of(result.ResultState.Status.ToString(), result.ResultState.Label, result.Message) switch
            {
                Verdict.Holds => "passed",
                Verdict.NotSupported or Verdict.NotTestable => "skipped",
                Verdict.Violated => "failed",
                _ => "broken",
            };
    }
}
