using System.Net;
using System.Net.NetworkInformation;
using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Linux;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;

namespace Conformance.KernelTests;

/// <summary>rtnetlink, with ip(8) as the judge.</summary>
public sealed class RouteSocketTests
{
    [Test]
    public async Task Written_links_and_addresses_equal_the_output_of_ip()
    {
        using var here = NetworkNamespace.Create("here");
        using var there = NetworkNamespace.Create("there");
        using var route = new RouteSocket(here);
        using var far = new RouteSocket(there);

        route.AddVeth("left", "right", there, PhysicalAddress.Parse("02-00-0A-00-00-02"));
        route.SetLink("left");
        far.SetLink("right");
        route.AddAddress("left", IPAddress.Parse("10.0.0.1"), 24);
        route.AddAddress("left", IPAddress.Parse("fd00::1"), 64);
        route.AddRoute(IPNetwork.Parse("10.1.0.0/16"), IPAddress.Parse("10.0.0.2"));
        route.AddRoute(IPNetwork.Parse("0.0.0.0/0"), IPAddress.Parse("10.0.0.3"));

        var addresses = await IpAsync(here, "address");
        var left = addresses.Single(l => l.GetProperty("ifname").GetString() == "left");
        left.GetProperty("addr_info").EnumerateArray().Where(a => a.GetProperty("scope").GetString() == "global")
            .Select(a => $"{a.GetProperty("local")}/{a.GetProperty("prefixlen")}")
            .ShouldBe(["10.0.0.1/24", "fd00::1/64"], ignoreOrder: true);
        (await IpAsync(there, "link")).Single(l => l.GetProperty("ifname").GetString() == "right").GetProperty("address").GetString()
            .ShouldBe("02:00:0a:00:00:02");
        var routes = await IpAsync(here, "route");
        routes.ShouldContain(r => r.GetProperty("dst").GetString() == "10.1.0.0/16" && r.GetProperty("gateway").GetString() == "10.0.0.2");
        routes.ShouldContain(r => r.GetProperty("dst").GetString() == "default" && r.GetProperty("gateway").GetString() == "10.0.0.3");
    }

    [Test]
    public async Task Links_and_addresses_set_by_ip_are_read()
    {
        using var ns = NetworkNamespace.Create("test");
        using var route = new RouteSocket(ns);
        await RunAsync(ns, "link", "add", "dummy7", "type", "dummy");
        await RunAsync(ns, "link", "set", "dummy7", "up", "mtu", "1400");
        await RunAsync(ns, "address", "add", "192.0.2.1/28", "dev", "dummy7");
        await RunAsync(ns, "route", "add", "198.51.100.0/24", "via", "192.0.2.2");
        await RunAsync(ns, "neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:09", "dev", "dummy7");

        var link = route.Links().Single(l => l.Name == "dummy7");
        (link.Kind, link.IsUp, link.Mtu).ShouldBe(("dummy", true, 1400u));
        route.Addresses().ShouldContain(new AddressInfo(link.Index, IPAddress.Parse("192.0.2.1"), 28));
        route.Routes().ShouldContain(new RouteInfo(IPNetwork.Parse("192.0.2.0/28"), null, link.Index));
        route.Routes().ShouldContain(new RouteInfo(IPNetwork.Parse("198.51.100.0/24"), IPAddress.Parse("192.0.2.2"), link.Index));
        route.Neighbours().ShouldContain(n => n.Address.ToString() == "192.0.2.2" && n.LinkAddress!.ToString() == "020000000009");

        route.DeleteRoute(IPNetwork.Parse("198.51.100.0/24"));
        route.DeleteAddress("dummy7", IPAddress.Parse("192.0.2.1"), 28);
        route.DeleteLink("dummy7");
        route.Links().Select(l => l.Name).ShouldNotContain("dummy7");
        route.Routes().ShouldBeEmpty();
    }

    [Test]
    public void Error_names_the_operation_and_has_the_message_of_the_kernel()
    {
        using var ns = NetworkNamespace.Create("test");
        using var route = new RouteSocket(ns);
        route.SetLink("lo");

        var failure = Should.Throw<KernelException>(() => route.AddRoute(IPNetwork.Parse("10.0.0.0/8"), IPAddress.Parse("192.0.2.1")));

        failure.Message.ShouldContain("add the route to 10.0.0.0/8 through 192.0.2.1 in test");
        failure.Errno.ShouldBe(101, "ENETUNREACH");
        failure.Explanation.ShouldBe("Nexthop has invalid gateway");
    }

    [Test]
    public void What_exists_is_refused_and_the_socket_still_works()
    {
        using var ns = NetworkNamespace.Create("test");
        using var route = new RouteSocket(ns);
        route.AddDummy("one");

        Should.Throw<KernelException>(() => route.AddDummy("one")).Errno.ShouldBe(17, "EEXIST");
        route.AddDummy("two");

        route.Links().Count(l => l.Kind == "dummy").ShouldBe(2);
    }

    private static async Task<List<JsonElement>> IpAsync(NetworkNamespace ns, string thing) =>
        [.. JsonDocument.Parse((await RunAsync(ns, "-json", thing, "show")).StandardOutput).RootElement.EnumerateArray()];

    private static Task<BufferedCommandResult> RunAsync(NetworkNamespace ns, params string[] arguments) =>
        Cli.Wrap(ns.Enter[0]).WithArguments([.. ns.Enter.Skip(1), "ip", .. arguments]).ExecuteBufferedAsync();
}
