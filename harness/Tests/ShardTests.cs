using Conformance.Launcher.Runner;
using Conformance.Suite;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;

namespace Conformance.Tests;

/// <summary>How the suite's tests are divided among kernels and machines.</summary>
public sealed class PartTests
{
    private static readonly Lazy<List<ITest>> s_all = new(() => [.. TestRunner.Leaves(new DefaultTestAssemblyBuilder()
        .Build(typeof(ConformanceFixture).Assembly, new Dictionary<string, object>(StringComparer.Ordinal)))]);

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(8)]
    public void Every_test_is_in_one_part(int count)
    {
        var parts = Enumerable.Range(1, count).Select(n => new Part(n, count).Choose(s_all.Value)).ToList();

        parts.SelectMany(p => p).Select(t => t.Id).Order(StringComparer.Ordinal)
            .ShouldBe(s_all.Value.Select(t => t.Id).Order(StringComparer.Ordinal));
        parts.ShouldAllBe(p => p.Count > 0);
    }

    [Test]
    public void The_tests_of_a_claim_are_in_one_part_because_one_runner_writes_its_record()
    {
        var partOf = Enumerable.Range(1, 4).SelectMany(n => new Part(n, 4).Choose(s_all.Value).Select(t => (t.Id, n)))
            .ToDictionary(p => p.Id, p => p.n, StringComparer.Ordinal);

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
    public void Machines_may_have_different_numbers_of_kernels()
    {
        var tests = from machine in new[] { (Number: 1, Kernels: 1), (Number: 2, Kernels: 3), (Number: 3, Kernels: 2) }
                    let part = new Part(machine.Number, 3).Choose(s_all.Value)
                    from kernel in Enumerable.Range(1, machine.Kernels)
                    from test in new Part(kernel, machine.Kernels).Choose(part)
                    select test.Id;

        tests.Order(StringComparer.Ordinal).ShouldBe(s_all.Value.Select(t => t.Id).Order(StringComparer.Ordinal));
    }

    [Test]
    public void Tests_that_wait_for_minutes_begin_first()
    {
        var suite = new DefaultTestAssemblyBuilder().Build(typeof(ConformanceFixture).Assembly,
            new Dictionary<string, object>(StringComparer.Ordinal));

        Part.PutLongestFirst(suite);

        Part.FixtureOf(TestRunner.Leaves(suite).First()).ShouldBe(typeof(Suite.Timers.KernelTimers).FullName);
        TestRunner.Leaves(suite).Count().ShouldBe(s_all.Value.Count);
    }

    [TestCase("")]
    [TestCase("2")]
    [TestCase("0/2")]
    [TestCase("3/2")]
    [TestCase("a/b")]
    public void What_is_no_part_is_refused(string text) => Should.Throw<FormatException>(() => Part.Parse(text));
}
