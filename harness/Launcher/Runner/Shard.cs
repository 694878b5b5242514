using System.Globalization;
using Conformance.Labs;
using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Conformance.Launcher.Runner;

/// <summary>
/// One of several equal shards of the selected tests: for each of several machines, and again for each of a machine's kernels. All know the
/// whole, and divide it in the same way. Fixtures stay whole, and so do fixtures that show the same claim, since one runner writes its
/// record.
/// </summary>
/// <param name="Number">From 1.</param>
internal sealed record Shard(int Number, int Count)
{
    private const string Slow = "slow"; // the category of tests that wait for minutes
    private static readonly TestCost s_unknown = new(Seconds: 2, Processor: 0.2);
    private static readonly Lazy<IReadOnlyDictionary<string, TestCost>> s_costs = new(ReadCosts);

    /// <summary>The mean cost of a test of each fixture, as measured.</summary>
    internal static IReadOnlyDictionary<string, TestCost> Costs => s_costs.Value;

    /// <summary>The whole.</summary>
    internal static Shard All { get; } = new(1, 1);

    /// <summary>
    /// Where the mean cost of a test of each fixture is, as a run of one test at a time measured it: the fixture, its seconds, and those
    /// of the processor.
    /// </summary>
    internal static string SecondsFile { get; } = Path.Combine(AppContext.BaseDirectory, "Runner", "fixture-seconds.tsv");

    /// <summary>Stores the mean cost of a test of each fixture, in the source folder.</summary>
    internal static Task StoreAsync(IEnumerable<RunnerEvent> tests, CancellationToken cancellationToken)
    {
        // a filter leaves some out
        var costs = new SortedDictionary<string, TestCost>(Costs.ToDictionary(), StringComparer.Ordinal);
        foreach (var fixture in tests.Where(t => t.Fixture is not null).GroupBy(t => t.Fixture!, StringComparer.Ordinal))
            costs[fixture.Key] = new TestCost(fixture.Average(t => t.Ms) / 1000, fixture.Average(t => t.ProcessorMs) / 1000);
        return File.WriteAllLinesAsync(
            Path.Combine(ProjectFolder.Root, "harness", "Launcher", "Runner", Path.GetFileName(SecondsFile)),
            costs.Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Key}\t{c.Value.Seconds:0.00}\t{c.Value.Processor:0.000}")),
            cancellationToken);
    }

    /// <exception cref="FormatException">It is not as 2/4.</exception>
    internal static Shard Parse(string text) => text.Split('/') is [var number, var count]
        && int.TryParse(number, CultureInfo.InvariantCulture, out var n) && int.TryParse(count, CultureInfo.InvariantCulture, out var c)
        && n >= 1 && n <= c ? new Shard(n, c) : throw new FormatException($"'{text}' is not a shard such as 2/4.");

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Number}/{Count}");

    /// <summary>
    /// The tests of this shard: the costliest group goes to the shard that would end first with it. A shard ends when its processor time
    /// is spent: while one test waits, others run. But tests that take turns on one cluster wait one after another.
    /// </summary>
    /// <param name="proxyFactor">How many times as long as the measured seconds a test with a proxy takes, if that is long.</param>
    internal List<ITest> Choose(IReadOnlyCollection<ITest> selected, double proxyFactor = 1)
    {
        var loads = Enumerable.Repeat(Load.None, Count).ToArray();
        var chosen = new List<ITest>();
        foreach (var group in GroupsOf(selected, proxyFactor).OrderByDescending(g => g.Load.End)
            .ThenBy(g => g.Name, StringComparer.Ordinal))
        {
            var first = Enumerable.Range(0, Count).MinBy(i => ((loads[i] + group.Load).End, loads[i].Processor));
            loads[first] += group.Load;
            if (first == Number - 1)
                chosen.AddRange(group.Tests);
        }
        return chosen;
    }

    /// <summary>
    /// Lets the tests that wait longest begin first, so that nobody waits for them alone at the end: NUnit starts the members of a suite in
    /// their order.
    /// </summary>
    internal static void PutLongestFirst(ITest suite)
    {
        if (!suite.IsSuite || suite.Tests.Count == 0)
            return;
        foreach (var member in suite.Tests)
            PutLongestFirst(member);
        if (suite is ParameterizedMethodSuite or TestFixture)
            return;
        var ordered = suite.Tests.OrderByDescending(LongestIn).ToList();
        suite.Tests.Clear();
        foreach (var member in ordered)
            suite.Tests.Add(member);
    }

    private static double LongestIn(ITest test) => test.Properties[PropertyNames.Category].Contains(Slow) ? double.MaxValue
        : test.IsSuite ? test.Tests.Select(LongestIn).DefaultIfEmpty(0).Max()
        : Costs.GetValueOrDefault(FixtureOf(test), s_unknown).Seconds;

    /// <summary>The class of a test's fixture, by which its seconds are known.</summary>
    internal static string FixtureOf(ITest test) => test.TypeInfo?.Type.FullName ?? test.FullName;

    private static List<(string Name, Load Load, List<ITest> Tests)> GroupsOf(IReadOnlyCollection<ITest> selected, double proxyFactor)
    {
        var groups = new List<(HashSet<string> Claims, List<IGrouping<string, ITest>> Fixtures)>();
        foreach (var fixture in selected.GroupBy(FixtureOf, StringComparer.Ordinal).OrderBy(f => f.Key, StringComparer.Ordinal))
        {
            var claims = fixture.SelectMany(TestRunner.ClaimsOf).ToHashSet(StringComparer.Ordinal);
            var same = groups.Where(g => g.Claims.Overlaps(claims)).ToList();
            groups.RemoveAll(same.Contains);
            groups.Add(([.. claims, .. same.SelectMany(g => g.Claims)], [.. same.SelectMany(g => g.Fixtures), fixture]));
        }
        return [.. groups.Select(g => (g.Fixtures[0].Key, g.Fixtures.Aggregate(Load.None, (sum, f) => sum + LoadOf(f, proxyFactor)),
            g.Fixtures.SelectMany(f => f).ToList()))];
    }

    private static Load LoadOf(IGrouping<string, ITest> fixture, double proxyFactor)
    {
        var cost = Costs.GetValueOrDefault(fixture.Key, s_unknown);
        // Of a slow proxy every test waits for a sync or two, however little else it does.
        var isSlow = proxyFactor > 1 && HasProxy(fixture.First().TypeInfo?.Type);
        return new Load(fixture.Count() * (isSlow ? proxyFactor * Math.Max(cost.Seconds, 1) : cost.Processor),
            TakesTurns(fixture.First()) ? fixture.Count() * cost.Seconds : 0);
    }

    /// <summary>Whether the tests of its fixture run one after another; those that change the nodes of a cluster do.</summary>
    private static bool TakesTurns(ITest? test) => test is not null
        && (test.Properties.Get(PropertyNames.ParallelScope) is ParallelScope.Self || TakesTurns(test.Parent));

    private static bool HasProxy(Type? fixture) => fixture is not null
        && (fixture.FullName == "Conformance.Suite.ClusterFixture" || HasProxy(fixture.BaseType));

    private static Dictionary<string, TestCost> ReadCosts() => File.Exists(SecondsFile)
        ? File.ReadLines(SecondsFile).Select(l => l.Split('\t')).ToDictionary(l => l[0], l => new TestCost(Parsed(l[1]), Parsed(l[2])),
            StringComparer.Ordinal)
        : [];

    private static double Parsed(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    /// <summary>What a test costs: the time that it takes, and what the processor works meanwhile, in seconds.</summary>
    internal sealed record TestCost(double Seconds, double Processor);

    /// <summary>What tests cost a shard: processor time, and the time of those that take turns, in seconds.</summary>
    private sealed record Load(double Processor, double Turns)
    {
        internal static Load None { get; } = new(0, 0);

        internal double End => Math.Max(Processor, Turns);

        public static Load operator +(Load left, Load right) => new(left.Processor + right.Processor, left.Turns + right.Turns);
    }
}

/// <summary>Selects tests by their ids.</summary>
internal sealed class IdFilter(IReadOnlySet<string> ids) : TestFilter
{
    public override bool Match(ITest test) => !test.IsSuite && ids.Contains(test.Id);

    public override TNode AddToXml(TNode parentNode, bool recursive) => parentNode.AddElement("ids", string.Join(',', ids));
}
