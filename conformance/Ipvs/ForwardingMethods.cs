using Conformance.Labs;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvs;

/// <summary>Article 1.2: the forwarding methods, and what NAT asks of the network.</summary>
[Topology("article-nat")]
public sealed class ForwardingMethods : ArticleFixture
{
    [Test, Claim("VS-7")]
    public async Task There_are_nat_direct_routing_and_tunnelling()
    {
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp(Service).Masquerading("192.168.113.99:8410").Routing("192.168.113.100:8410")
            .Tunnelling("192.168.113.98:8410"));

        Director.IpvsTable().VirtualServers.ShouldHaveSingleItem().RealServers
            .ToDictionary(r => r.EndPoint.Address.ToString(), r => r.Method)
            .ShouldBe(new Dictionary<string, ForwardingMethod>
            {
                ["192.168.113.99"] = ForwardingMethod.Masq,
                ["192.168.113.100"] = ForwardingMethod.Route,
                ["192.168.113.98"] = ForwardingMethod.Tunnel,
            }, ignoreOrder: true);
    }

    [Test, Claim("VS-8"), Topology("remote-nat")]
    public async Task A_real_server_in_another_network_behind_another_gateway_serves()
    {
        await SetUpServiceAsync("rs1:8080");

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenByServerAsAsync("client");
        Director.Spec.Interfaces.ShouldNotContain(i => i.Network.Subnet.Contains(Rs1.Address),
            "the director is in no network of the real server");
        Director.Spec.Interfaces.ShouldNotContain(i => i.Address.Equals(Rs1.Spec.Gateway), "the real server's gateway is not the director");
    }

    [Test, Claim("VS-8")]
    public async Task Client_in_the_same_subnet_breaks_nat_through_the_gateway()
    {
        await SetUpServiceAsync("rs1:8080");
        await Rs1.AddRouteAsync("0.0.0.0/0", via: Director);

        var flow = await Client.AskAsync(Service);

        await flow.ShouldTimeOutAsync();
        await flow.ShouldBeSeenAsAsync(
            On("rs1").Leaving.SynAck(from: "rs1:8080", to: "client"),
            On("client").Arriving.SynAck(from: "rs1:8080", to: "client"));
        await flow.ShouldNotBeSeenAsync(On("director").SynAck());
    }

    [Test, Claim("VS-16")]
    public async Task Virtual_server_of_the_article_forwards_by_nat()
    {
        await SetUpServiceAsync("rs1:8080", "rs2:8080");

        var server = Director.IpvsTable().VirtualServers.ShouldHaveSingleItem();

        server.RealServers.Count.ShouldBe(2);
        server.RealServers.ShouldAllBe(r => r.Method == ForwardingMethod.Masq);
    }
}
