using Allure.NUnit;
using Conformance.Labs;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Conformance.Suite;

/// <summary>
/// A fixture whose tests each get a lab of their own, so that they run at the same time and none sees another's
/// connections. What a test saw is recorded for the claims that it names.
/// </summary>
[AllureNUnit]
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public abstract class ConformanceFixture
{
    private Lab? _lab;

    protected Lab Lab => _lab ?? throw new InvalidOperationException("The lab is not up.");

    protected Node Client => Lab["client"];

    protected Node Director => Lab["director"];

    protected Node Rs1 => Lab["rs1"];

    protected Node Rs2 => Lab["rs2"];

    /// <summary>What sets the lab up, for the record.</summary>
    protected virtual ImplementationRecord Implementation => Evidence.ByHand;

    /// <summary>The node on which a packet is expected; then say which.</summary>
    protected static PacketPattern.Place On(string node) => PacketPattern.On(node);

    [SetUp]
    public async Task StartLab()
    {
        var test = TestExecutionContext.CurrentContext.CurrentTest;
        AllureResults.Describe(test);
        _lab = await Lab.StartAsync(Topologies.Topology.Load(TopologyOf(test)));
    }

    [TearDown]
    public async Task EndLab()
    {
        if (_lab is null)
            return;
        var failed = TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Failed;
        try
        {
            await Evidence.TakeAsync(_lab, Implementation, TestExecutionContext.CurrentContext.CurrentTest, failed);
            if (_lab.Wire.Dropped > 0)
                throw new InvalidOperationException(
                    $"{_lab.Wire.Dropped} packets were not captured because the buffer was full: the evidence is incomplete.");
            if (_lab.Nodes.SelectMany(n => n.Flows).FirstOrDefault(f => f.Answer is not null && !f.From.Owns(f.Target.Address)
                && f.ReadStory().Steps.Count == 0) is { } unseen)
                throw new InvalidOperationException($"No capture saw a packet of a flow that was answered: {unseen}");
        }
        finally
        {
            await _lab.DisposeAsync();
        }
    }

    private static string TopologyOf(ITest test)
    {
        for (var at = test; at is not null; at = at.Parent)
        {
            if (at.Properties.Get("Topology") is string name)
                return name;
        }
        throw new InvalidOperationException($"{test.FullName} has no [Topology].");
    }
}
