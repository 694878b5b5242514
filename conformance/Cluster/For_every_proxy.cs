using Conformance.Harness.Assertions;
using Conformance.Harness.Kubernetes;

namespace Conformance.Suite.ClusterIP;

/// <summary>What the article says or leaves out of ClusterIP and node ports, whatever the proxy.</summary>
public sealed class For_every_proxy : ClusterFixture
{
    [Test, Claim("NP-5")]
    public async Task A_node_port_is_not_served_on_loopback()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        (await Node1.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredBy("web-a");

        (await Node1.AskAsync($"127.0.0.1:{service.NodePort}")).Answer.ShouldBeNull();
    }
}
