using System.Net.NetworkInformation;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite;

/// <summary>What sets the director's virtual servers.</summary>
public enum SetUpBy
{
    /// <summary>ipvsadm(8), as the article does it.</summary>
    Ipvsadm,

    /// <summary>keepalived(8).</summary>
    Keepalived,
}

/// <summary>A fixture whose tests run once for each way to set up the director.</summary>
public abstract class DirectorFixture(SetUpBy by) : ArticleFixture
{
    protected override ImplementationRecord Implementation => by == SetUpBy.Keepalived
        ? new("keepalived", ToolVersions.Of("keepalived")) : base.Implementation;

    /// <summary>Adds virtual servers with their real servers to the director.</summary>
    protected Task AddAsync(params VirtualServerSpec[] servers) => by == SetUpBy.Keepalived
        ? Director.StartKeepalivedAsync(servers) : Director.Ipvs.AddAsync(servers);
}

/// <summary>NAT: the director has the article's virtual address.</summary>
public abstract class NatFixture(SetUpBy by) : DirectorFixture(by)
{
    [SetUp]
    public Task AddVirtualAddress() => Director.AddAddressAsync($"{Vip}/24");
}

/// <summary>
/// Direct routing and tunnelling: the virtual address is one of the director's network, and the real servers have it as well.
/// </summary>
public abstract class SharedAddressFixture(SetUpBy by) : DirectorFixture(by)
{
    /// <summary>The virtual address, in the director's network.</summary>
    protected const string SharedVip = "192.168.113.50";

    /// <summary>The virtual server; the real servers serve the same port.</summary>
    protected const string SharedService = "192.168.113.50:8080";

    /// <summary>The virtual address of IPv6.</summary>
    protected const string SharedVip6 = "fd00:113::50";

    /// <summary>The virtual server of IPv6.</summary>
    protected const string SharedService6 = "[fd00:113::50]:8080";

    /// <summary>Gives the director the virtual addresses, and adds its virtual servers.</summary>
    protected async Task SetUpDirectorAsync(params VirtualServerSpec[] servers)
    {
        await Director.AddAddressAsync($"{SharedVip}/32");
        if (HasIPv6(Director))
            await Director.RunAsync($"ip addr add {SharedVip6}/128 dev {Director.Device} preferred_lft 0"); // no source of its own packets
        await AddAsync(servers);
    }

    /// <summary>Gives real servers the virtual addresses, on their loopback device.</summary>
    /// <param name="hidden">Whether they keep them to themselves: no answer and no question by ARP with them.</param>
    protected static async Task SetUpRealServersAsync(bool hidden, params Node[] nodes)
    {
        foreach (var node in nodes)
        {
            if (hidden)
            {
                await node.SetSysctlAsync("net.ipv4.conf.all.arp_ignore", "1");
                await node.SetSysctlAsync("net.ipv4.conf.all.arp_announce", "2");
            }
            await node.AddAddressAsync($"{SharedVip}/32", "lo");
            if (HasIPv6(node))
                await node.AddAddressAsync($"{SharedVip6}/128", "lo");
        }
    }

    /// <summary>
    /// Lets real servers take packets out of IP in IP: the device tunl0 is there as soon as the module is, and it is down.
    /// </summary>
    protected static async Task OpenTunnelsAsync(params Node[] nodes)
    {
        foreach (var node in nodes)
        {
            await node.RunAsync("modprobe ipip");
            await node.RunAsync("ip link set tunl0 up");
        }
    }

    /// <summary>A connection carries 100,000 bytes each way, and only what the client sends passes the director.</summary>
    protected async Task<Flow> ShouldLoadRequestsOnlyAsync()
    {
        const int bytes = 100_000;
        var flow = await Client.ConnectAsync(SharedService);
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ExchangeAsync(bytes);

        var stats = await Eventually.Async("the kernel has counted the connection", () => IpvsStats.Read(Director.Namespace),
            s => s.Connections == 1 && s.BytesIn > bytes);
        stats.BytesOut.ShouldBe(0, "what the real server sent back did not pass the director");
        return flow;
    }

    private static bool HasIPv6(Node node) => node.Spec.Interfaces.Any(i => i.Address6 is not null);

    /// <summary>The address of a node's first interface on the wire.</summary>
    protected static PhysicalAddress MacOf(Node node) => node.Route.Links().Single(l => l.Name == node.Device).Address;
}
