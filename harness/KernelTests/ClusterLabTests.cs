using Conformance.Labs;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.KernelTests;

/// <summary>The cluster without a proxy: every pod reaches every other, and nothing rewrites a packet on the way.</summary>
public sealed class ClusterLabTests
{
    [Test]
    public async Task Pods_reach_each_other_with_their_own_addresses_through_bridge_and_vxlan()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("cluster"));

        await (await lab["pod-a"].AskAsync("web-a:8080")).ShouldBeSeenByServerAsAsync("pod-a");
        var across = await lab["pod-a"].AskAsync("web-b:8080");
        await across.ShouldBeSeenByServerAsAsync("pod-a");
        await across.ShouldBeSeenAsAsync(
            PacketPattern.On("node1").Leaving.Syn(from: "pod-a", to: "web-b:8080"),
            PacketPattern.On("node2").Leaving.Syn(from: "pod-a", to: "web-b:8080"),
            PacketPattern.On("web-b").Arriving.Syn(from: "pod-a", to: "web-b:8080"));
        await (await lab["pod-a"].AskAsync("[fd00:10:244:1::143]:8080")).ShouldBeSeenByServerAsAsync("fd00:10:244::11");
        await (await lab["node1"].AskAsync("web-b:8080")).ShouldBeSeenByServerAsAsync("10.244.0.0"); // flannel.1's own address
        lab.Wire.Packets().ShouldContain(p => p.Node == "node2" && p.Device == "eth0" && p.Packet.DestinationPort == 8472,
            "VXLAN on the wire");
    }
}
