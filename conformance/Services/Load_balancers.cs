using System.Net;
using Conformance.Labs;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>What a proxy does, and leaves to others, for the address of a load balancer.</summary>
public sealed class Load_balancers : ClusterFixture
{
    private const ushort Arp = 0x0806;

    [Test, Claim("SM-95")]
    public async Task An_address_whose_load_balancer_answers_by_itself_is_not_served()
    {
        var service = NewService("web-a");
        await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [OutsideAddress(service)], LoadBalancerMode = "Proxy" }, "LoadBalancer"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await (await PodA.AskAsync($"{OutsideAddress(service)}:80")).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("SM-113")]
    public async Task A_load_balancer_of_which_only_a_name_is_known_is_served_at_cluster_ip_and_node_port()
    {
        var service = WithNodePort(NewService("web-a") with { LoadBalancerName = "lb.example" }, "LoadBalancer");

        await ApplyAsync(service);

        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");
        await (await Client.AskAsync($"node1:{service.NodePort}")).ShouldBeAnsweredByAsync("web-a");
    }

    [Test, Claim("SM-96")]
    public async Task The_address_is_not_announced()
    {
        var service = NewService("web-a");
        var address = NeighbourAddress(service, first: 150);

        await ApplyAsync(WithNodePort(service with { LoadBalancerIPs = [address] }, "LoadBalancer"));
        await (await PodA.AskAsync($"{address}:80")).ShouldBeAnsweredByAsync("web-a");

        Lab.Wire.Packets(Since).Where(p => p.Node == "client" && !p.IsLeaving && SaysWhoHas(p, IPAddress.Parse(address))).ShouldBeEmpty();
    }

    /// <summary>An ARP message whose sender is the address (RFC 826).</summary>
    private static bool SaysWhoHas(CapturedPacket captured, IPAddress address) =>
        captured.Packet.EtherType == Arp && captured.Bytes.Length >= 32 && captured.Bytes.Span.Slice(28, 4).SequenceEqual(address.GetAddressBytes());
}
