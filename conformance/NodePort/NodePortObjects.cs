using System.Globalization;
using Conformance.Clusters;
using Conformance.Linux;
using Conformance.Linux.Sockets;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.NodePort;

/// <summary>What a node port is in the kernel, and where it is served.</summary>
public sealed class NodePortObjects : ClusterFixture
{
    [Test, Claim("NP-5")]
    public async Task A_node_port_is_not_served_on_loopback()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-a")));
        await (await Node1.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");

        await (await Node1.AskAsync($"127.0.0.1:{service.NodePort}")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("NP-1")]
    public async Task No_socket_listens_on_a_node_port()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        foreach (var node in Cluster.Nodes)
        {
            await (await Client.AskAsync($"{node.Name}:{service.NodePort}")).ShouldBeAnsweredByAsync("web-b");
            ListeningSockets.Tcp(node.Namespace).ShouldNotContain(service.NodePort, node.Name);
            node.IpvsTable().VirtualServers.ShouldContain(
                s => s.EndPoint!.Equals(new System.Net.IPEndPoint(node.Address, service.NodePort)));
        }
    }

    [Test, Claim("NP-3")]
    public async Task Node_ports_stand_in_a_bitmap_of_all_ports()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        var lines = (await ListSetAsync("KUBE-NODE-PORT-TCP")).Split('\n');
        lines.ShouldContain("Type: bitmap:port");
        lines.ShouldContain("Header: range 0-65535");
        lines.ShouldContain(service.NodePort.ToString(CultureInfo.InvariantCulture));
        var size = lines.Single(l => l.StartsWith("Size in memory: ", StringComparison.Ordinal)).Split(' ')[^1];
        int.Parse(size, CultureInfo.InvariantCulture).ShouldBeInRange(8192, 8400, "one bit for each port, and the head");
    }

    [Test, Claim("NP-2")]
    public async Task A_service_with_a_node_port_has_a_cluster_ip_as_well()
    {
        var service = await ApplyAsync(WithNodePort(NewService("web-b")));

        await (await PodA.AskAsync(service.Target())).ShouldBeSeenByServerAsAsync("pod-a");
    }
}
