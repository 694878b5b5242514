using System.Text.RegularExpressions;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvsadm;

/// <summary>Article 1.2: its command lines, unchanged, and what the kernel makes of them.</summary>
[Topology("article-nat")]
public sealed partial class ArticleCommands : ArticleFixture
{
    [Test, Claim("ADM-1")]
    public async Task A_virtual_server_is_added_and_deleted()
    {
        await RunAsInTheArticleAsync(Director, "ipvsadm -A -t 10.10.0.1:8410 -s rr");

        var server = Director.IpvsTable().VirtualServers.ShouldHaveSingleItem();
        server.Protocol.ShouldBe(TransportProtocol.Tcp);
        server.EndPoint!.ToString().ShouldBe(Service);
        server.Server.Scheduler.ShouldBe("rr");

        await RunAsInTheArticleAsync(Director, "ipvsadm -D -t 10.10.0.1:8410");

        Director.IpvsTable().VirtualServers.ShouldBeEmpty();
    }

    [Test, Claim("ADM-2")]
    public async Task The_virtual_address_is_added_to_the_interface_and_brings_a_route_with_it()
    {
        await RunAsInTheArticleAsync(Director, "ip addr add 10.10.0.1/24 dev ens33");

        var device = Director.Route.IndexOf("ens33");
        Director.Route.Addresses().ShouldContain(a => a.LinkIndex == device && a.Address.ToString() == Vip && a.PrefixLength == 24);
        Director.Route.Routes().ShouldContain(r => r.LinkIndex == device && r.Gateway == null
            && r.Destination.ToString() == "10.10.0.0/24");
        await Client.AddRouteAsync("10.10.0.0/16", via: Director);
        await (await Client.PingAsync(Vip)).ShouldBeAnsweredAsync();
    }

    [Test, Claim("ADM-3")]
    public async Task Real_servers_are_added_with_nat_and_weight_one()
    {
        await RunAsInTheArticleAsync(Director, "ipvsadm -A -t 10.10.0.1:8410 -s rr");
        await RunAsInTheArticleAsync(Director, "ipvsadm -a -t 10.10.0.1:8410 -r 192.168.113.99:8080 -m");
        await RunAsInTheArticleAsync(Director, "ipvsadm -a -t 10.10.0.1:8410 -r 192.168.113.100:8080 -m");

        var servers = Director.IpvsTable().VirtualServers.ShouldHaveSingleItem().RealServers;
        servers.Select(r => r.EndPoint.ToString()).ShouldBe(["192.168.113.99:8080", "192.168.113.100:8080"], ignoreOrder: true);
        servers.ShouldAllBe(r => r.Method == ForwardingMethod.Masq && r.Weight == 1);
    }

    [Test, Claim("ADM-4")]
    public async Task List_begins_with_version_and_table_size_and_has_the_columns()
    {
        await RunAsInTheArticleAsync(Director, "ipvsadm -A -t 10.10.0.1:8410 -s rr");
        await RunAsInTheArticleAsync(Director, "ipvsadm -a -t 10.10.0.1:8410 -r 192.168.113.99:8080 -m");

        var lines = (await RunAsInTheArticleAsync(Director, "ipvsadm -Ln")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        lines.Length.ShouldBe(5);
        lines[0].ShouldBe(Director.IpvsTable().Header, "the header is the kernel's own");
        var header = Header().Match(lines[0]);
        header.Success.ShouldBeTrue(lines[0]);
        int.IsPow2(int.Parse(header.Groups["size"].ValueSpan, System.Globalization.CultureInfo.InvariantCulture)).ShouldBeTrue(lines[0]);
        Words(lines[1]).ShouldBe(["Prot", "LocalAddress:Port", "Scheduler", "Flags"]);
        Words(lines[2]).ShouldBe(["->", "RemoteAddress:Port", "Forward", "Weight", "ActiveConn", "InActConn"]);
        Words(lines[3]).ShouldBe(["TCP", "10.10.0.1:8410", "rr"]);
        Words(lines[4]).ShouldBe(["->", "192.168.113.99:8080", "Masq", "1", "0", "0"]);
    }

    [Test, Claim("ADM-5"), Requires(Feature.IpvsMatch, Feature.IpvsConntrack)]
    public async Task The_client_needs_a_static_route()
    {
        await SetUpServiceWithSnatAsync("rs1:8080");
        await Client.DeleteRouteAsync("10.10.0.0/16");
        await (await Client.AskAsync(Service)).ShouldNotLeaveTheClientAsync();

        await RunAsInTheArticleAsync(Client, "route add -net 10.10.0.0/16 gw 192.168.113.101");

        var flow = await Client.AskAsync(Service);
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("director").Arriving.Syn(from: "client", to: Service));
    }

    private static string[] Words(string line) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    [GeneratedRegex(@"^IP Virtual Server version \d+\.\d+\.\d+ \(size=(?<size>\d+)\)$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Header();
}
