using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;
using Conformance.Harness.Proxies;
using Conformance.Kernel;

namespace Conformance.Suite.ClusterIP;

/// <summary>What is so wherever Services are served by IPVS.</summary>
public sealed class By_ipvs : ClusterFixture
{
    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.Ipvs];

    [Test, Claim("KP-25")]
    public void The_nodes_loopback_is_not_opened_to_the_network()
    {
        foreach (var node in Cluster.Nodes)
        {
            foreach (var device in new[] { "all", "eth0", "cni0" })
                Sysctl.Read(node.Namespace, $"net.ipv4.conf.{device}.route_localnet").ShouldBe("0", $"{node.Name} {device}");
        }
    }

    [Test, Claim("NP-5")]
    public async Task A_node_port_is_not_served_on_loopback()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        (await Node1.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredBy("web-a");

        (await Node1.AskAsync($"127.0.0.1:{service.NodePort}")).Answer.ShouldBeNull();
    }
}
