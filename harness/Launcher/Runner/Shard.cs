using System.Globalization;
using Conformance.Labs;
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
    private const double SecondsOfUnknownTest = 2;
    private const string Slow = "slow"; // the category of tests that wait for minutes
    private static readonly Lazy<IReadOnlyDictionary<string, double>> s_seconds = new(ReadSeconds);

    /// <summary>The whole.</summary>
    internal static Shard All { get; } = new(1, 1);

    /// <summary>Where the seconds of each fixture are, as a run of one test at a time measured them.</summary>
    internal static string SecondsFile { get; } = Path.Combine(AppContext.BaseDirectory, "Runner", "fixture-seconds.tsv");

    /// <summary>Stores the mean seconds of a test of each fixture, in the source folder.</summary>
    internal static Task StoreAsync(IEnumerable<RunnerEvent> tests, CancellationToken cancellationToken)
    {
        // a filter leaves some out
        var seconds = new SortedDictionary<string, double>(s_seconds.Value.ToDictionary(), StringComparer.Ordinal);
        foreach (var fixture in tests.Where(t => t.Fixture is not null).GroupBy(t => t.Fixture!, StringComparer.Ordinal))
            seconds[fixture.Key] = fixture.Average(t => t.Ms) / 1000;
        return File.WriteAllLinesAsync(
            Path.Combine(ProjectFolder.Root, "harness", "Launcher", "Runner", Path.GetFileName(SecondsFile)),
            seconds.Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Key}\t{s.Value:0.00}")), cancellationToken);
    }

    /// <exception cref="FormatException">It is not as 2/4.</exception>
    internal static Shard Parse(string text) => text.Split('/') is [var number, var count]
        && int.TryParse(number, CultureInfo.InvariantCulture, out var n) && int.TryParse(count, CultureInfo.InvariantCulture, out var c)
        && n >= 1 && n <= c ? new Shard(n, c) : throw new FormatException($"'{text}' is not a shard such as 2/4.");

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Number}/{Count}");

    /// <summary>The tests of this shard: the longest group goes to the shard that has the least so far.</summary>
    /// <param name="proxyFactor">How many times as long as the measured seconds a test with a proxy takes.</param>
    internal List<ITest> Choose(IReadOnlyCollection<ITest> selected, double proxyFactor = 1)
    {
        var loads = new double[Count];
        var chosen = new List<ITest>();
        foreach (var group in GroupsOf(selected, proxyFactor).OrderByDescending(g => g.Seconds).ThenBy(g => g.Name, StringComparer.Ordinal))
        {
            var least = Array.IndexOf(loads, loads.Min());
            loads[least] += group.Seconds;
            if (least == Number - 1)
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
        : s_seconds.Value.GetValueOrDefault(FixtureOf(test), SecondsOfUnknownTest);

    /// <summary>The class of a test's fixture, by which its seconds are known.</summary>
    internal static string FixtureOf(ITest test) => test.TypeInfo?.Type.FullName ?? test.FullName;

    private static List<(string Name, double Seconds, List<ITest> Tests)> GroupsOf(IReadOnlyCollection<ITest> selected, double proxyFactor)
    {
        var groups = new List<(HashSet<string> Claims, List<IGrouping<string, ITest>> Fixtures)>();
        foreach (var fixture in selected.GroupBy(FixtureOf, StringComparer.Ordinal).OrderBy(f => f.Key, StringComparer.Ordinal))
        {
            var claims = fixture.SelectMany(TestRunner.ClaimsOf).ToHashSet(StringComparer.Ordinal);
            var same = groups.Where(g => g.Claims.Overlaps(claims)).ToList();
            groups.RemoveAll(same.Contains);
            groups.Add(([.. claims, .. same.SelectMany(g => g.Claims)], [.. same.SelectMany(g => g.Fixtures), fixture]));
        }
        return [.. groups.Select(g => (g.Fixtures[0].Key, g.Fixtures.Sum(f => SecondsOf(f, proxyFactor)), g.Fixtures.SelectMany(f => f)
            .ToList()))];
    }

    private static double SecondsOf(IGrouping<string, ITest> fixture, double proxyFactor)
    {
        var seconds = s_seconds.Value.TryGetValue(fixture.Key, out var measured) ? measured : SecondsOfUnknownTest;
        // Of a slow proxy every test waits for a sync or two, however little else it does.
        var isSlow = proxyFactor > 1 && HasProxy(fixture.First().TypeInfo?.Type);
        return fixture.Count() * (isSlow ? proxyFactor * Math.Max(seconds, 1) : seconds);
    }

    private static bool HasProxy(Type? fixture) => fixture is not null
        && (fixture.FullName == "Conformance.Suite.ClusterFixture" || HasProxy(fixture.BaseType));

    private static Dictionary<string, double> ReadSeconds() => File.Exists(SecondsFile)
        ? File.ReadLines(SecondsFile).Select(l => l.Split('\t'))
            .ToDictionary(l => l[0], l => double.Parse(l[1], CultureInfo.InvariantCulture), StringComparer.Ordinal)
        : [];
}

/// <summary>Selects tests by their ids.</summary>
internal sealed class IdFilter(IReadOnlySet<string> ids) : TestFilter
{
    public override bool Match(ITest test) => !test.IsSuite && ids.Contains(test.Id);

    public override TNode AddToXml(TNode parentNode, bool recursive) => parentNode.AddElement("ids", string.Join(',', ids));
}
