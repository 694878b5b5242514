using Conformance.Clusters.Proxies;
using Conformance.Generator.Model;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Topologies;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>
/// On nodes with a proxy, such as a real kube-proxy, any flow goes as <c>ipvs-generator explain</c> says of the state that the proxy should
/// make: kube-proxy's or the generator's own.
/// </summary>
[Parallelizable]
public sealed class FlowsOfProxyTests
{
    [Test]
    public async Task Any_flow_goes_as_explained_of_the_state_that_the_proxy_should_make()
    {
        var proxy = Proxy.Parse(Environment.GetEnvironmentVariable(Proxy.Variable) is { Length: > 0 } given ? given : "generator");
        await using var cluster = await Clusters.Cluster.StartAsync(proxy,
            await Lab.StartAsync(Topology.Load("cluster"), capture: false));
        var isKubeProxy = MakesStateOfKubeProxy(proxy);
        await using var lab = await FlowLab.StartAsync(RandomFlowsOfGenerator.Base with { CompatKubeProxy = isKubeProxy }, cluster.Lab);
        var objects = new HashSet<(string Kind, string Name)>();
        var (flows, unjudged, late) = (0, 0, 0);
        Seeded.Check(FlowCase.Any(lab.Protocols), async drawn =>
        {
            Heartbeat.Beat();
            var value = drawn with { Flows = [.. drawn.Flows.Where(f => !isKubeProxy || HoldersOf(f, drawn) < 2)] };
            var wanted = FlowManifests.Of(value).ToList();
            foreach (var (kind, name) in objects.Except(wanted.Select(o => (o.Kind, o.Name))).ToList())
                cluster.Objects.Delete(kind, "default", name);
            foreach (var (_, _, manifest) in wanted)
                cluster.Objects.Apply(manifest);
            objects = [.. wanted.Select(o => (o.Kind, o.Name))];
            await cluster.SettleAsync();

            var predictions = value.Flows.Select(lab.Explain(value).Predict).ToList();
            var results = await Burst.AskAsync(cluster.Lab, value.Flows);
            try
            {
                late += await FlowJudge.AreAsPredictedAsync(cluster.Lab, value, predictions, results) ? 0 : 1;
            }
            catch (Exception e) when (e is AssertionException or ShouldAssertException)
            {
                await NodeTables.WriteAsync("flows", cluster.Nodes);
                throw;
            }
            flows += value.Flows.Count;
            unjudged += drawn.Flows.Count - value.Flows.Count;
        }, FlowJudge.CasesOf(usual: 200), RandomFlowTests.Size);
        RunFolder.WriteFindings("proxy", $"{proxy.Name}: The kernel did with {flows} flows what the explanations say; " +
            $"{unjudged} to an address and port of two Services were not sent, since kube-proxy leaves to chance who is served. " +
            $"In {late} clusters an answer came late.");
    }

    /// <exception cref="HarnessException">It makes neither.</exception>
    private static bool MakesStateOfKubeProxy(Proxy proxy)
    {
        if (proxy.Features.Contains(ProxyFeature.KubeProxyLayout))
            return true;
        if (proxy is GeneratorProxy)
            return false;
        throw new HarnessException($"The flows of {proxy.Name} cannot be explained.",
            "The explanations know the state of the generator, and that of kube-proxy's IPVS mode.", "No flow was sent.",
            "Give --proxy generator, generator-api, generator-compat, mutant=ID or kube-proxy=PATH.");
    }

    /// <summary>Which of two Services kube-proxy serves on an address and port is left to chance.</summary>
    private static int HoldersOf(RandomFlow flow, FlowCase value) => value.Services.Count(s => FlowCase.TargetsOf(s).Contains(flow.Target));
}
