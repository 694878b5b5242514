using System.Net;
using Conformance.Labs;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.LoadBalancers;

/// <summary>What a proxy does, and leaves to others, for the address of a load balancer.</summary>
public sealed class LoadBalancerAddresses : ClusterFixture
{
    private const ushort Arp = 0x0806;

    [Test, Claim("LB-1")]
    public async Task Load_balancer_address_with_mode_proxy_is_not_served()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)], LoadBalancerMode = "Proxy" },
            "LoadBalancer"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await (await PodA.AskAsync($"{OutsideAddress(service)}:80")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("LB-3")]
    public async Task Load_balancer_with_a_hostname_is_served_at_cluster_ip_and_node_port()
    {
        var service = WithNodePort(NewService("web-a") with { LoadBalancerName = "lb.example" }, "LoadBalancer");

        await ApplyAsync(service);

        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("LB-2")]
    public async Task Load_balancer_address_is_not_announced()
    {
        var service = NewService("web-a");
        var address = NeighbourAddress(service, first: 150);

        await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [address] }, "LoadBalancer"));
        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");

        Lab.Wire.Packets(Since).Where(p => p.Node == "client" && !p.IsLeaving && SaysWhoHas(p, IPAddress.Parse(address))).ShouldBeEmpty();
    }

    /// <summary>An ARP message whose sender is the address (RFC 826).</summary>
    private static bool SaysWhoHas(CapturedPacket captured, IPAddress address) =>
        captured.Packet.EtherType == Arp && captured.Bytes.Length >= 32 && captured.Bytes.Span.Slice(28, 4)
            .SequenceEqual(address.GetAddressBytes());
}
