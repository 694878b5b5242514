using System.Text.RegularExpressions;
using Conformance.Generator.Decisions;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// Scenario 26, with the recording's connections: two of TCP that stay open while an endpoint goes, comes back and goes again.
/// </summary>
public sealed class GracefulTests
{
    private const string Tcp = "10.96.10.26:80";
    private const string Udp = "10.96.10.126:5000";

    [Test]
    public async Task An_endpoint_goes_comes_back_and_goes_for_good_as_recorded()
    {
        var scenario = Scenario.Load("26-graceful");
        await using var lab = await Lab.StartAsync(Topology.Load("cluster"));
        var (node, client) = (lab["node1"], lab["pod-b"]); // .13, as in the recording
        lab["pod-a"].Serve(TransportProtocol.Tcp, 8080);
        foreach (var pod in new[] { "pod-a", "web-a" })
            lab[pod].Serve(TransportProtocol.Udp, 5000);
        using var kernel = new KernelPort(node.Namespace, Toolbox.Iptables);
        var synchronizer = new Synchronizer(kernel);
        var (options, cluster) = (scenario.Options(), scenario.ReadCluster());
        Sync();
        var before = await KernelState.ReadAsync(node);

        await using var first = await client.ConnectAsync(Tcp);
        await using var second = await client.ConnectAsync(Tcp);
        var (going, staying) = first.Answer!.Server == "pod-a" ? (first, second) : (second, first);
        await staying.ShouldBeAnsweredByAsync("web-a");
        await (await client.AskUdpAsync(Udp, sourcePort: 37585)).ShouldBeAnsweredAsync();
        await (await client.AskUdpAsync(Udp, sourcePort: 37586)).ShouldBeAnsweredAsync();

        foreach (var step in new[] { "2-pod11-removed", "3-pod11-readded", "4-pod11-removed-again" })
        {
            // The script of the recording keeps its documents in files: what is applied stands behind the first 'cat' of each name.
            var document = Document(scenario, step == "3-pod11-readded" ? "add" : "rm");
            foreach (var item in ManifestReader.Read(step, System.Text.Encoding.UTF8.GetBytes(document)).Objects)
                Source.Put(cluster, item);
            Sync();
            await CompareAsync(step);
            await (await client.AskUdpAsync(Udp, sourcePort: 37585)).ShouldBeAnsweredByAsync("web-a");
            await (await client.AskUdpAsync(Udp, sourcePort: 37586)).ShouldBeAnsweredByAsync("web-a");
            await going.ExchangeAsync(1000);
            await staying.ExchangeAsync(1000);
        }

        await going.ResetAsync(); // the recording's FIN leaves IPVS an entry for two minutes, a reset for ten seconds
        await staying.ResetAsync();
        await Eventually.Async("the last connection is forgotten", () => synchronizer.RemoveDrained().Changes.Count, count => count > 0,
            TimeSpan.FromSeconds(20), pause: TimeSpan.FromMilliseconds(200));
        await CompareAsync("6-200s-after-close");

        cluster.RemoveService(new("default", "g"));
        cluster.RemoveSlice(new("default", "g-abcde"));
        Sync();
        await CompareAsync("7-service-deleted");

        void Sync()
        {
            var state = NodeStates.Of(options, cluster, scenario.NodeAddresses);
            synchronizer.SyncAll(new World(options, state, cluster).Desired, state).Errors.ShouldBeEmpty();
        }

        async Task CompareAsync(string recording)
        {
            var after = await KernelState.ReadAsync(node);
            KernelState.SameChanges(after.Differences(before), scenario.Read($"diff-{recording}.txt")).ShouldBeEmpty(recording);
            before = after;
        }
    }

    private static string Document(Scenario scenario, string name) =>
        Regex.Match(scenario.Read("steps.sh"), $@"cat >/run/{name}\.yaml <<'Y'\n(?<yaml>.*?)\nY\n",
            RegexOptions.ExplicitCapture | RegexOptions.Singleline, TimeSpan.FromSeconds(1)).Groups["yaml"].Value;
}
