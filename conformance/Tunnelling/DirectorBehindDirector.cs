using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Tunnelling;

/// <summary>A director whose real server is another director with the same virtual server.</summary>
[Topology("ha")]
public sealed class DirectorBehindDirector() : SharedAddressFixture(SetUpBy.Ipvsadm)
{
    [TestCase("0"), TestCase("1"), Claim("TUN-15"), Requires(Feature.IpInIp)]
    public async Task What_came_through_a_tunnel_is_scheduled_again(string ignoreTunneled)
    {
        var director2 = Lab["director2"];
        await SetUpRealServersAsync(hidden: true, director2, Rs1);
        director2.Serve(Linux.TransportProtocol.Tcp, 8080);
        await director2.Ipvs.AddAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));
        await director2.SetSysctlAsync("net.ipv4.vs.ignore_tunneled", ignoreTunneled);
        await OpenTunnelsAsync(director2);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Tunnelling("director2:8080"));

        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredByAsync("rs1");
    }
}
