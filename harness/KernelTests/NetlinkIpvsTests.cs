using System.Net;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;
using Conformance.Topologies;
using Conformance.Traffic;

namespace Conformance.KernelTests;

/// <summary>IPVS, ipset and conntrack over netlink, with ipvsadm, ipset and conntrack as the judges.</summary>
[Parallelizable(ParallelScope.All)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class NetlinkIpvsTests : IAsyncDisposable
{
    private Lab _lab = null!;

    private Node Node => _lab["node1"];

    [SetUp]
    public async Task StartNode() => _lab = await Lab.StartAsync(Topology.Load("generator-node"), capture: false);

    public async ValueTask DisposeAsync() => await _lab.DisposeAsync();

    [Test]
    public async Task Written_servers_equal_ipvsadm_and_its_servers_are_read()
    {
        using var ipvs = new IpvsSocket(Node.Namespace);
        var (web, dns, six) = (Key(TransportProtocol.Tcp, "10.0.0.1", 80), Key(TransportProtocol.Udp, "10.0.0.1", 53),
            Key(TransportProtocol.Sctp, "fd00::1", 443));
        ipvs.Execute([
            ipvs.Add(new VirtualServer(web, 0, "mh", VirtualServerFlags.Sched2, 300)),
                ipvs.Add(new VirtualServer(dns, 0, "rr", VirtualServerFlags.None, 0)),
                ipvs.Add(new VirtualServer(six, 0, "wlc", VirtualServerFlags.None, 0)),
            ipvs.Add(web, Real("10.1.0.1", 8080, ForwardingMethod.Masq, 3)),
                ipvs.Add(web, Real("10.1.0.2", 80, ForwardingMethod.Route, 0)),
                ipvs.Add(six, Real("fd00::9", 8443, ForwardingMethod.Masq, 1)),
        ]).ShouldBeEmpty();

        (await Node.RunAsync("ipvsadm -Sn")).Split('\n', StringSplitOptions.RemoveEmptyEntries).ShouldBe(
        [
            "-A -t 10.0.0.1:80 -s mh -p 300 -b mh-port", "-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 3",
                "-a -t 10.0.0.1:80 -r 10.1.0.2:80 -g -w 0",
            "-A -u 10.0.0.1:53 -s rr", "-A --sctp-service [fd00::1]:443 -s wlc",
                "-a --sctp-service [fd00::1]:443 -r [fd00::9]:8443 -m -w 1",
        ], ignoreOrder: true);

        await Node.RunAsync("ipvsadm -A -f 7 -s lc");
        ipvs.Execute([ipvs.Edit(new VirtualServer(web, 0, "rr", VirtualServerFlags.None, 0)),
            ipvs.Edit(web, Real("10.1.0.2", 80, ForwardingMethod.Masq, 5)), ipvs.Delete(web, IPAddress.Parse("10.1.0.1"), 8080),
            ipvs.Delete(six)]).ShouldBeEmpty();

        ipvs.Services().ShouldBe([new VirtualServer(web, 0, "rr", VirtualServerFlags.None, 0),
            new VirtualServer(dns, 0, "rr", VirtualServerFlags.None, 0), new VirtualServer(null, 7, "lc", VirtualServerFlags.None, 0)],
            ignoreOrder: true);
        ipvs.Destinations(web).ShouldBe([Real("10.1.0.2", 80, ForwardingMethod.Masq, 5)]);
    }

    [Test]
    public async Task A_request_that_fails_is_named_and_the_others_are_carried_out()
    {
        using var ipvs = new IpvsSocket(Node.Namespace);
        var servers = Enumerable.Range(1, 250)
            .Select(i => new VirtualServer(Key(TransportProtocol.Tcp, $"10.0.0.{i}", 80), 0, i == 150 ? "nosuch" : "rr",
                VirtualServerFlags.None, 0)).ToList();

        var failures = ipvs.Execute(servers.Select(ipvs.Add));

        var (index, error) = failures.ShouldHaveSingleItem();
        index.ShouldBe(149);
        error.Message.ShouldStartWith("add the virtual server tcp 10.0.0.150:80 in generator-node/node1: No such file or directory");
        ipvs.Services().Count.ShouldBe(249);
        ipvs.Execute([ipvs.Add(servers[0])]).ShouldHaveSingleItem().Error.Message.ShouldContain("File exists");
        ipvs.SetTimeouts(new IpvsTimeouts(300, 0, 100));
        ipvs.Timeouts().ShouldBe(new IpvsTimeouts(300, 120, 100), "0 leaves what is set");
        (await Node.RunAsync("ipvsadm -l --timeout")).ShouldContain("Timeout (tcp tcpfin udp): 300 120 100");
    }

    [TestCase(IpsetType.HashIp, "10.0.0.1", "fd00::1")]
    [TestCase(IpsetType.HashIpPort, "10.0.0.1,tcp:80", "fd00::1,sctp:443")]
    [TestCase(IpsetType.HashIpPortIp, "10.0.0.1,udp:53,10.0.0.9", "fd00::1,tcp:80,fd00::9")]
    [TestCase(IpsetType.HashIpPortNet, "10.0.0.1,tcp:80,192.168.0.0/16", "fd00::1,tcp:80,fd00:1::/32")]
    [TestCase(IpsetType.HashIpPortNet, "10.0.0.1,tcp:80,192.168.0.7", "fd00::1,tcp:80,fd00:1::7")]
    [TestCase(IpsetType.BitmapPort, "30080", "30081")]
    public async Task Entries_are_those_that_ipset_saves(IpsetType type, string entry4, string entry6)
    {
        using var ipset = new IpsetSocket(Node.Namespace);
        foreach (var (name, isIPv6, text) in new[] { ("FOUR", false, entry4), ("SIX", true, entry6) })
        {
            var entry = Parse(text, type);
            entry.Format(type).ShouldBe(text);
            ipset.Create(name, type, isIPv6);
            ipset.Create(name, type, isIPv6); // as it is
            ipset.Add(name, type, [entry]).ShouldBe(1);
            ipset.Add(name, type, [entry]).ShouldBe(1);

            (await Node.RunAsync($"ipset save {name}")).Split('\n').ShouldContain($"add {name} {text}");
            ipset.List(name).ShouldHaveSingleItem().ShouldSatisfyAllConditions(s => s.Type.ShouldBe(type),
                s => s.Entries.ShouldBe([entry]));

            ipset.Delete(name, type, [entry]);
            ipset.Delete(name, type, [entry]);
            ipset.List(name)[0].Entries.ShouldBeEmpty();
        }
    }

    [Test]
    public async Task Many_entries_go_in_few_messages_and_a_full_set_says_so()
    {
        using var ipset = new IpsetSocket(Node.Namespace);
        ipset.Create("MANY", IpsetType.HashIpPort, isIPv6: false);
        var entries = Enumerable.Range(0, 20_000)
            .Select(i => new IpsetEntry(new IPAddress(new byte[] { 10, 0, (byte)(i >> 8), (byte)i }), TransportProtocol.Tcp, 80)).ToList();

        ipset.Add("MANY", IpsetType.HashIpPort, entries).ShouldBe(40);

        ipset.List("MANY")[0].Entries.ToHashSet().SetEquals(entries).ShouldBeTrue();
        (await Node.RunAsync("ipset list -t MANY")).ShouldContain("Number of entries: 20000");
        ipset.Create("SMALL", IpsetType.HashIpPort, isIPv6: false, maxElements: 64);
        Should.Throw<KernelException>(() => ipset.Add("SMALL", IpsetType.HashIpPort, entries)).Message.ShouldBe(
            "add to the set SMALL: the set is full (errno 4352)");
        ipset.Create("OTHER", IpsetType.HashIpPort, isIPv6: false);
        ipset.Swap("MANY", "OTHER");
        ipset.Destroy("MANY");
        ipset.List().Select(s => (s.Name, s.Entries.Count)).ShouldContain(("OTHER", 20_000));
        ipset.Destroy("MANY"); // gone already
        Should.Throw<KernelException>(() => ipset.Add("MANY", IpsetType.HashIpPort, entries.Take(1))).Message.ShouldStartWith(
            "add to the set MANY in generator-node/node1: No such file or directory");
    }

    [Test]
    public async Task Only_the_requested_conntrack_entries_are_deleted([Values] bool isIPv6)
    {
        await using var lab = await Lab.StartAsync(Topology.Load("cluster"), capture: false); // of both families
        var node = lab["node1"];
        var (client, other) = isIPv6 ? ("fd00:113::50", "fd00:113::101") : ("192.168.113.50", "192.168.113.101");
        using var conntrack = new ConntrackSocket(node.Namespace);
        await node.RunAsync($"{(isIPv6 ? "ip6tables" : "iptables")} -A OUTPUT -m conntrack --ctstate INVALID -j DROP");
        foreach (var port in new[] { 5001, 5002 })
            lab["client"].Serve(TransportProtocol.Udp, port);
        lab["client"].Serve(TransportProtocol.Tcp, 5001);
        foreach (var port in new[] { 5001, 5002 })
            (await node.AskUdpAsync(new IPEndPoint(IPAddress.Parse(client), port).ToString())).Answer.ShouldNotBeNull();
        (await node.AskAsync(new IPEndPoint(IPAddress.Parse(client), 5001).ToString())).Answer.ShouldNotBeNull();
        var judged = new List<VirtualServerKey>();

        Delete(true, (client, 5001)).ShouldBe(1);
        judged.ShouldBe([Key(TransportProtocol.Udp, client, 5001)], "neither the other port's nor the other protocol's");
        Delete(false, (client, 5001), (client, 5003)).ShouldBe(0);
        judged.ShouldBe([Key(TransportProtocol.Udp, client, 5002)], "of several ports all of the protocol are judged");
        Delete(true, (other, 5002)).ShouldBe(0, "another address");
        Delete(true, (client, 5002)).ShouldBe(1);
        node.Conntrack().Where(e => e.Protocol is "tcp" or "udp").ShouldHaveSingleItem().Protocol.ShouldBe("tcp"); // bridges send IGMP

        int Delete(bool isStale, params (string Address, int Port)[] servers)
        {
            judged.Clear();
            var keys = servers.Select(s => Key(TransportProtocol.Udp, s.Address, (ushort)s.Port)).ToHashSet();
            return conntrack.Delete(keys, (key, answering) =>
            {
                judged.Add(key);
                return isStale && keys.Contains(key) && answering.ToString() == client;
            });
        }
    }

    private static VirtualServerKey Key(TransportProtocol protocol, string address, ushort port) =>
        new(protocol, IPAddress.Parse(address), port);

    private static RealServer Real(string address, ushort port, ForwardingMethod method, int weight) =>
        new(IPAddress.Parse(address), port, method, weight);

    private static IpsetEntry Parse(string text, IpsetType type)
    {
        if (type == IpsetType.BitmapPort)
            return IpsetEntry.OfPort(ushort.Parse(text, System.Globalization.CultureInfo.InvariantCulture));
        var parts = text.Split(',');
        var address = IPAddress.Parse(parts[0]);
        if (parts.Length == 1)
            return IpsetEntry.OfAddress(address);
        var port = parts[1].Split(':');
        var entry = new IpsetEntry(address, Enum.Parse<TransportProtocol>(port[0], ignoreCase: true),
            ushort.Parse(port[1], System.Globalization.CultureInfo.InvariantCulture));
        if (parts.Length == 2)
            return entry;
        var second = parts[2].Split('/');
        var length = type != IpsetType.HashIpPortNet ? 0 : second.Length > 1
            ? int.Parse(second[1], System.Globalization.CultureInfo.InvariantCulture) : IPAddress.Parse(second[0])
            .GetAddressBytes().Length * 8;
        return entry with { Second = IPAddress.Parse(second[0]), SecondPrefix = (byte)length };
    }
}
