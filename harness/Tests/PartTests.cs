using Conformance.Launcher.Runner;
using Conformance.Suite;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;

namespace Conformance.Tests;

/// <summary>How the suite's tests are divided among kernels and machines.</summary>
public sealed class PartTests
{
    private static readonly Lazy<List<ITest>> s_all = new(() => [.. Leaves(new DefaultTestAssemblyBuilder()
        .Build(typeof(ConformanceFixture).Assembly, new Dictionary<string, object>(StringComparer.Ordinal)))]);

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(8)]
    public void Every_test_is_in_one_part(int count)
    {
        var parts = Enumerable.Range(1, count).Select(n => new Part(n, count).Choose(s_all.Value)).ToList();

        parts.SelectMany(p => p).Order(StringComparer.Ordinal).ShouldBe(s_all.Value.Select(t => t.Id).Order(StringComparer.Ordinal));
        parts.ShouldAllBe(p => p.Count > 0);
    }

    [Test]
    public void The_tests_of_a_claim_are_in_one_part_because_one_runner_writes_its_record()
    {
        var partOf = Enumerable.Range(1, 4).SelectMany(n => new Part(n, 4).Choose(s_all.Value).Select(id => (id, n)))
            .ToDictionary(p => p.id, p => p.n, StringComparer.Ordinal);

        s_all.Value.SelectMany(t => TestRunner.ClaimsOf(t).Select(claim => (claim, Part: partOf[t.Id])))
            .GroupBy(t => t.claim, t => t.Part, StringComparer.Ordinal).Where(g => g.Distinct().Count() > 1).Select(g => g.Key)
                .ShouldBeEmpty();
    }

    [Test]
    public void Every_fixture_has_its_seconds()
    {
        var known = File.ReadLines(Part.SecondsFile).Select(l => l.Split('\t')[0]).ToHashSet(StringComparer.Ordinal);

        s_all.Value.Select(Part.FixtureOf).Distinct(StringComparer.Ordinal).Except(known, StringComparer.Ordinal)
            .Except([typeof(Suite.Timers.KernelTimers).FullName!], StringComparer.Ordinal)
                .ShouldBeEmpty("./lab run --record-seconds measures them");
    }

    [Test]
    public void A_part_of_a_machine_is_divided_among_its_kernels()
    {
        var parts = new[] { 1, 2 }.SelectMany(machine => new[] { 1, 2, 3 }.Select(kernel => new Part(machine, 2).Of(kernel, 3))).ToList();

        parts.Select(p => p.ToString()).ShouldBe(["1/6", "2/6", "3/6", "4/6", "5/6", "6/6"]);
    }

    [TestCase("")]
    [TestCase("2")]
    [TestCase("0/2")]
    [TestCase("3/2")]
    [TestCase("a/b")]
    public void What_is_no_part_is_refused(string text) => Should.Throw<FormatException>(() => Part.Parse(text));

    private static IEnumerable<ITest> Leaves(ITest test) => test.IsSuite ? test.Tests.SelectMany(Leaves) : [test];
}
