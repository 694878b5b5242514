using System.Globalization;
using Conformance.Clusters.Kubernetes;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Reports;

namespace Conformance.Suite.ClusterIp;

/// <summary>What kube-proxy's IPVS mode keeps in the kernel for a Service (article 2.1 and 2.2).</summary>
public sealed class KernelObjects : ClusterFixture
{
    [Test, Claim("K-3")]
    public async Task A_cluster_ip_is_a_host_address_on_a_device_that_is_down_and_answers_no_arp()
    {
        var service = await ApplyAsync(NewService("web-b"));

        var shown = await Node1.RunAsync("ip address show dev kube-ipvs0");
        shown.ShouldContain($"inet {service.ClusterIPs[0]}/32 scope global kube-ipvs0");
        shown.ShouldContain("<BROADCAST,NOARP>");
        shown.ShouldContain("state DOWN");
    }

    [Test, Claim("K-4")]
    public async Task Kube_cluster_ip_holds_address_protocol_and_port()
    {
        var service = await ApplyAsync(
            NewService("web-b") with { Ports = [new PortSpec(80), new PortSpec(53, Protocol: TransportProtocol.Udp)] });

        var set = await ListSetAsync("KUBE-CLUSTER-IP");
        set.ShouldContain("Type: hash:ip,port");
        set.ShouldContain($"{service.ClusterIPs[0]},tcp:80\n");
        set.ShouldContain($"{service.ClusterIPs[0]},udp:53\n");
    }

    [Test, Claim("K-5")]
    public async Task A_cluster_ip_is_a_virtual_server_with_round_robin_and_masquerading()
    {
        var service = await ApplyAsync(NewService("web-a", "web-b"));

        var server = VirtualServerAt(service.Target());
        server.Server.Scheduler.ShouldBe("rr");
        server.RealServers.Select(r => (r.EndPoint.ToString(), r.Method, r.Weight)).ShouldBe(
            [(EndPointOf("web-a"), ForwardingMethod.Masq, 1), (EndPointOf("web-b"), ForwardingMethod.Masq, 1)], ignoreOrder: true);
    }

}
