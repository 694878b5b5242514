using System.Net;
using Conformance.Labs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.ClusterIp;

/// <summary>
/// What a cluster's IPVS does without the rules of a proxy: why kube-proxy has them, and what hides that they are missing.
/// </summary>
[Topology("cluster")]
public sealed class ByHand : ArticleFixture
{
    private const string ClusterIP = "10.108.113.237";

    [Test, Claim("K-9")]
    public async Task Packets_of_the_node_carry_the_virtual_address_as_their_source()
    {
        var node = await ServeAsync(Lab, "web-a:8080");

        var here = await node.AskAsync($"{ClusterIP}:80");
        await here.ShouldBeAnsweredByAsync("web-a");
        await here.ShouldBeSeenByServerAsAsync(ClusterIP);

        await node.Ipvs.AddAsync(VirtualServerSpec.Tcp($"{ClusterIP}:81").Masquerading("web-b:8080"));
        var elsewhere = await node.AskAsync($"{ClusterIP}:81");
        await elsewhere.ShouldTimeOutAsync();
        await elsewhere.ShouldBeSeenAsAsync(On("web-b").Arriving.Syn(from: ClusterIP, to: "web-b:8080"));
    }

    [Test, Claim("K-7")]
    public async Task Pods_of_one_node_need_bridged_frames_in_iptables()
    {
        var node = await ServeAsync(Lab, "web-a:8080");
        await (await Lab["pod-a"].AskAsync($"{ClusterIP}:80")).ShouldBeAnsweredByAsync("web-a");

        await node.SetSysctlAsync("net.bridge.bridge-nf-call-iptables", "0");

        var flow = await Lab["pod-a"].AskAsync($"{ClusterIP}:80");
        await flow.ShouldTimeOutAsync();
        await flow.ShouldBeSeenAsAsync(
            On("web-a").Arriving.Syn(from: "pod-a", to: "web-a:8080"),
            On("pod-a").Arriving.SynAck(from: "web-a:8080", to: "pod-a"),
            On("pod-a").Leaving.Reset(from: "pod-a", to: "web-a:8080"));
    }

    [Test, Claim("K-8")]
    public async Task Flannel_rules_hide_a_missing_masquerade()
    {
        await ServeAsync(Lab, "web-b:8080");
        await Client.AddRouteAsync($"{ClusterIP}/32", via: Lab["node1"]);
        var bare = await Client.AskAsync($"{ClusterIP}:80");
        await bare.ShouldTimeOutAsync();
        await bare.ShouldBeSeenAsAsync(On("client").Arriving.SynAck(from: "web-b:8080", to: "client"));

        var overlay = Lab.Topology.Overlays[0] with { Masquerade = IPNetwork.Parse("10.244.0.0/16") };
        await using var flannel = await Lab.StartAsync(Lab.Topology with { Overlays = [overlay] });
        await ServeAsync(flannel, "web-b:8080");
        await flannel["node1"].SetSysctlAsync("net.ipv4.vs.conntrack", "1");
        await flannel["client"].AddRouteAsync($"{ClusterIP}/32", via: flannel["node1"]);
        var hidden = await flannel["client"].AskAsync($"{ClusterIP}:80");

        await hidden.ShouldBeAnsweredByAsync("web-b");
        await hidden.ShouldBeSeenByServerAsAsync("10.244.0.0");
    }

    /// <summary>The ClusterIP on node1, as kube-proxy has it: an address on kube-ipvs0 and a virtual server, but no rules.</summary>
    private static async Task<Node> ServeAsync(Lab lab, string endpoint)
    {
        var node = lab["node1"];
        node.Route.AddDummy("kube-ipvs0");
        await node.AddAddressAsync($"{ClusterIP}/32", "kube-ipvs0");
        await node.Ipvs.AddAsync(VirtualServerSpec.Tcp($"{ClusterIP}:80").Masquerading(endpoint));
        return node;
    }
}
