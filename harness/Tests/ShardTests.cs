using System.Reflection;
using Conformance.Launcher.Runner;
using Conformance.Suite;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;

namespace Conformance.Tests;

/// <summary>How the suite's tests are divided among kernels and machines.</summary>
public sealed class ShardTests
{
    private static readonly Lazy<List<ITest>> s_all = new(() => [.. TestRunner.Leaves(new DefaultTestAssemblyBuilder()
        .Build(typeof(ConformanceFixture).Assembly, new Dictionary<string, object>(StringComparer.Ordinal)))]);

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(8)]
    public void Every_test_is_in_one_shard(int count)
    {
        var shards = Enumerable.Range(1, count).Select(n => new Shard(n, count).Choose(s_all.Value)).ToList();

        shards.SelectMany(p => p).Select(t => t.Id).Order(StringComparer.Ordinal)
            .ShouldBe(s_all.Value.Select(t => t.Id).Order(StringComparer.Ordinal));
        shards.ShouldAllBe(p => p.Count > 0);
    }

    [Test]
    public void The_tests_of_a_claim_are_in_one_shard_because_one_runner_writes_its_record()
    {
        var shardOf = Enumerable.Range(1, 4).SelectMany(n => new Shard(n, 4).Choose(s_all.Value).Select(t => (t.Id, n)))
            .ToDictionary(p => p.Id, p => p.n, StringComparer.Ordinal);

        s_all.Value.SelectMany(t => TestRunner.ClaimsOf(t).Select(claim => (claim, Shard: shardOf[t.Id])))
            .GroupBy(t => t.claim, t => t.Shard, StringComparer.Ordinal).Where(g => g.Distinct().Count() > 1).Select(g => g.Key)
                .ShouldBeEmpty();
    }

    [Test]
    public void Every_fixture_has_its_seconds()
    {
        s_all.Value.Select(Shard.FixtureOf).Distinct(StringComparer.Ordinal).Except(Shard.Costs.Keys, StringComparer.Ordinal)
            .Except([typeof(Suite.Timers.KernelTimers).FullName!], StringComparer.Ordinal)
                .ShouldBeEmpty("./lab run --record-seconds measures them");
    }

    [Test]
    public void Machines_may_have_different_numbers_of_kernels()
    {
        var tests = from machine in new[] { (Number: 1, Kernels: 1), (Number: 2, Kernels: 3), (Number: 3, Kernels: 2) }
                    let shard = new Shard(machine.Number, 3).Choose(s_all.Value)
                    from kernel in Enumerable.Range(1, machine.Kernels)
                    from test in new Shard(kernel, machine.Kernels).Choose(shard)
                    select test.Id;

        tests.Order(StringComparer.Ordinal).ShouldBe(s_all.Value.Select(t => t.Id).Order(StringComparer.Ordinal));
    }

    [Test]
    public void Tests_with_a_slow_proxy_are_divided_evenly()
    {
        var counts = Enumerable.Range(1, 2).Select(n => new Shard(n, 2).Choose(s_all.Value, proxyFactor: 20)
            .Count(t => typeof(Suite.ClusterFixture).IsAssignableFrom(t.TypeInfo!.Type))).ToList();

        counts.Min().ShouldBeGreaterThan(counts.Max() * 3 / 4);
    }

    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    public void Tests_that_take_turns_on_one_cluster_are_divided_among_the_kernels(int count)
    {
        var seconds = Enumerable.Range(1, count).Select(n => new Shard(n, count).Choose(s_all.Value)
            .Where(t => t.TypeInfo!.Type.GetCustomAttribute<ParallelizableAttribute>(inherit: true)?.Scope == ParallelScope.Self)
            .Sum(t => Shard.Costs[Shard.FixtureOf(t)].Seconds)).ToList();

        seconds.Min().ShouldBeGreaterThan(seconds.Max() / 2, string.Join(" and ", seconds));
    }

    [Test]
    public void Tests_that_wait_for_minutes_begin_first()
    {
        var suite = new DefaultTestAssemblyBuilder().Build(typeof(ConformanceFixture).Assembly,
            new Dictionary<string, object>(StringComparer.Ordinal));

        Shard.PutLongestFirst(suite);

        Shard.FixtureOf(TestRunner.Leaves(suite).First()).ShouldBe(typeof(Suite.Timers.KernelTimers).FullName);
        TestRunner.Leaves(suite).Count().ShouldBe(s_all.Value.Count);
    }

    [TestCase("")]
    [TestCase("2")]
    [TestCase("0/2")]
    [TestCase("3/2")]
    [TestCase("a/b")]
    public void What_is_no_shard_is_refused(string text) => Should.Throw<FormatException>(() => Shard.Parse(text));
}
