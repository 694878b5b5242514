using Conformance.Harness.Assertions;
using Conformance.Harness.Labs;

namespace Conformance.Suite.ClusterIP;

/// <summary>What a cluster's IPVS does without the rules of a proxy: why kube-proxy has them.</summary>
[Topology("cluster")]
public sealed class By_hand : ArticleFixture
{
    private const string ClusterIP = "10.108.113.237";

    [Test, Claim("SVC-IP")]
    public async Task A_node_s_own_packets_carry_the_virtual_address_as_their_source()
    {
        var node = Lab["node1"];
        node.Route.AddDummy("kube-ipvs0");
        await node.AddAddressAsync($"{ClusterIP}/32", "kube-ipvs0");
        await node.Ipvs.AddAsync(VirtualServer.Tcp($"{ClusterIP}:80").Masquerading("web-a:8080"));

        var here = await node.AskAsync($"{ClusterIP}:80");
        here.ShouldBeAnsweredBy("web-a");
        here.ShouldBeSeenByServerAs(ClusterIP);

        await node.Ipvs.AddAsync(VirtualServer.Tcp($"{ClusterIP}:81").Masquerading("web-b:8080"));
        var elsewhere = await node.AskAsync($"{ClusterIP}:81");
        elsewhere.ShouldTimeOut();
        elsewhere.ShouldBeSeenAs(On("web-b").Arriving.Syn(from: ClusterIP, to: "web-b:8080"));
    }
}
