using Conformance.Harness;
using Conformance.Harness.Assertions;
using Conformance.Harness.Labs;
using Conformance.Harness.Proxies;

namespace Conformance.Suite.KubeProxy;

/// <summary>What a proxy by IPVS does not cope with on a node (kubernetes/kubernetes#132689, #75290).</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class Altered_nodes : ClusterFixture
{
    protected override bool IsAlone => true;

    protected override IReadOnlyList<ProxyFeature> Needs => [ProxyFeature.Ipvs];

    [Test, Claim("KP-14")]
    public async Task An_input_policy_of_drop_drops_what_is_for_node_ports()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredBy("web-a");
        await Node1.RunAsync("iptables -w -P INPUT DROP");
        try
        {
            (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeMetWithSilence();
        }
        finally
        {
            await Node1.RunAsync("iptables -w -P INPUT ACCEPT");
        }
    }

    [Test, Claim("KP-15")]
    public async Task An_external_ip_that_is_another_node_s_address_cuts_this_node_off_from_it()
    {
        Node2.Serve(Topologies.TransportProtocol.Tcp, 7115);
        (await Node1.AskAsync("node2:7115")).ShouldBeAnsweredBy("node2");
        var service = NewService("web-a") with { ExternalIPs = [Node2.Address.ToString()] };

        // Not waited for by the canary: it is cut off too.
        Cluster.Put(service);
        try
        {
            await ProgrammedAsync("node1 takes node2's address for its own", () => AnswersAsync(Node1, "node2:7115"), answers => !answers);
            (await Client.AskAsync("node2:7115")).ShouldBeAnsweredBy("node2"); // the node that has the address is not locked out of it
        }
        finally
        {
            Cluster.Delete(service);
            await ProgrammedAsync("node1 reaches node2 again", () => AnswersAsync(Node1, "node2:7115"), answers => answers);
        }
    }

    private static Task<bool> AnswersAsync(Node from, string target)
    {
        var remote = from.Lab.Resolve(target);
        return Harness.Proxies.Cluster.AnswersAsync(from, remote.Address.ToString(), remote.Port, isPatient: true);
    }
}
