using System.Globalization;
using Conformance.Clusters.Kubernetes;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.SessionAffinity;

/// <summary>The time-out of session affinity.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class AffinityTimeout : ClusterFixture
{
    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("AFFINITY-3")]
    public async Task Session_affinity_ends_after_the_time_out()
    {
        // A scheduler that chooses at random chooses the same of four again in one of four cases: five times in a row in one of a thousand.
        // UDP, with a time-out shorter than the affinity: while a connection is there, the kernel prolongs the affinity by a minute.
        var service = await ApplyAsync(
            NewService("web-a", "web-b", "web-c", "pod-b") with
            {
                Ports = [new PortSpec(80, Protocol: TransportProtocol.Udp)],
                HasAffinity = true,
                AffinitySeconds = 3
            });
        var servers = new HashSet<string>(StringComparer.Ordinal);
        await ChangeAsync(Node1, "ipvsadm --set 0 0 1", undo: "ipvsadm --set 0 0 300");
        for (var i = 0; i < 3; i++)
            servers.Add((await PodA.AskUdpAsync(service.Target())).Answer?.Server ?? "nobody");
        servers.Count.ShouldBe(1, "while it lasts");
        for (var i = 0; i < 5 && servers.Count < 2; i++)
        {
            await Task.Delay(TimeSpan.FromSeconds(5));
            var flow = await PodA.AskUdpAsync(service.Target());
            await flow.ShouldBeAnsweredAsync();
            servers.Add(flow.Answer!.Server);
        }

        servers.Count.ShouldBe(2, "after a pause an endpoint is chosen again, and sooner or later another one");
    }
}
