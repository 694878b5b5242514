using Conformance.Clusters;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Sysctls;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.KubeProxy;

/// <summary>What a proxy by IPVS does not cope with on a node (kubernetes/kubernetes#132689, #75290).</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class AlteredNodes : ClusterFixture
{
    private const string ArpIgnore = "net.ipv4.conf.all.arp_ignore";
    private const string ArpAnnounce = "net.ipv4.conf.all.arp_announce";

    protected override ClusterUse Use => ClusterUse.ChangesNodes;

    [Test, Claim("KP-14")]
    public async Task Input_policy_drop_drops_node_ports()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
        await ChangeAsync(Node1, "iptables -w -P INPUT DROP", undo: "iptables -w -P INPUT ACCEPT");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("KP-15")]
    public async Task External_ip_that_is_a_node_address_cuts_this_node_off()
    {
        Node2.Serve(TransportProtocol.Tcp, 7115);
        await (await Node1.AskAsync("node2:7115")).ShouldBeAnsweredByAsync("node2");
        var service = NewService("web-a") with { ExternalIPs = [Node2.Address.ToString()] };

        // Not waited for by the canary: it is cut off too.
        Cluster.Put(service);
        Undo(() => Cluster.Delete(service));
        await ProgrammedAsync("node1 takes node2's address for its own", () => AnswersAsync(Node1, "node2:7115"), answers => !answers);
        // the node that has the address is not locked out of it
        await (await Client.AskAsync("node2:7115")).ShouldBeAnsweredByAsync("node2");
        Cluster.Delete(service);
        await ProgrammedAsync("node1 reaches node2 again", () => AnswersAsync(Node1, "node2:7115"), answers => answers);
    }

    [Test, Claim("KP-29")]
    public async Task Load_balancer_address_of_a_node_is_dead_without_a_local_endpoint()
    {
        var service = WithNodePort(NewService("web-a") with { LoadBalancerIPs = [Node2.Address.ToString()] }, "LoadBalancer");
        Node2.Serve(TransportProtocol.Tcp, 7129);
        Cluster.Put(service); // not waited for by the canary: node1 is cut off
        Undo(() => Cluster.Delete(service));
        await ProgrammedAsync("node1 takes node2's address for its own", () => AnswersAsync(Node1, "node2:7129"), answers => !answers);
        await ProgrammedAsync("pods of node1 are served", () => AnswersAsync(PodA, "node2:80"), answers => answers);
        await ProgrammedAsync("node2 serves it too", () => Task.FromResult(Node2.IpvsTable()),
            table => table.VirtualServers.Any(s => s.EndPoint!.ToString() == $"{Node2.Address}:80"));

        await (await Client.AskAsync("node2:80")).ShouldNotBeAnsweredAsync();
        Cluster.Delete(service);
        await ProgrammedAsync("node1 reaches node2 again", () => AnswersAsync(Node1, "node2:7129"), answers => answers);
    }

    [Test, Claim("KP-22")]
    public async Task Strict_arp_does_not_answer_for_a_virtual_address()
    {
        var service = NewService("web-a");
        var address = NeighbourAddress(service, first: 200);
        await ApplyAsync(service with { ExternalIPs = [address] });
        var before = Cluster.Nodes.Select(n => (Node: n, Ignore: Sysctl.Read(n.Namespace, ArpIgnore),
            Announce: Sysctl.Read(n.Namespace, ArpAnnounce))).ToList();
        Undo(async () =>
        {
            foreach (var (node, ignore, announce) in before)
            {
                await node.SetSysctlAsync(ArpIgnore, ignore);
                await node.SetSysctlAsync(ArpAnnounce, announce);
            }
        });
        await SetArpAsync("0", "0"); // a proxy may have set them itself
        await (await AskAfreshAsync()).ShouldBeAnsweredByAsync("web-a");

        await SetArpAsync("1", "2"); // what --ipvs-strict-arp sets
        await (await AskAfreshAsync()).ShouldNotBeAnsweredAsync();

        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a"); // inside nothing has changed

        async Task SetArpAsync(string ignore, string announce)
        {
            foreach (var node in Cluster.Nodes)
            {
                await node.SetSysctlAsync(ArpIgnore, ignore);
                await node.SetSysctlAsync(ArpAnnounce, announce);
            }
        }

        async Task<Flow> AskAfreshAsync()
        {
            await Client.RunAsync("ip neighbour flush dev eth0");
            return await Client.AskAsync($"{address}:80");
        }
    }

    private static Task<bool> AnswersAsync(Node from, string target)
    {
        var remote = from.Lab.Resolve(target);
        return Cluster.AnswersAsync(from, remote.Address.ToString(), remote.Port);
    }
}
