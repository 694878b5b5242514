using Conformance.Labs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Schedulers;

/// <summary>Schedulers that choose by the addresses of a connection.</summary>
[Topology("nat-four")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class ByHash(SetUpBy by) : SchedulerFixture(by)
{
    private const int Mark = 7;
    private const int Addresses = 8;

    [Test, Claim("SCH-14")]
    public async Task Source_hashing_keeps_a_client_on_one_server()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "sh").Masquerading(Four));

        (await SequenceAsync(8)).Distinct().Count().ShouldBe(1);
        (await SequenceAsync(8, Client2)).Distinct().Count().ShouldBe(1);
    }

    [Test, Claim("SCH-15")]
    public async Task Source_hashing_with_the_port_spreads_the_connections_of_a_client()
    {
        await AddAsync((VirtualServerSpec.Tcp(Service, "sh") with { SchedulerFlags = "sh-port" }).Masquerading(Four));

        await ShouldSpreadAsync();
        await ShouldRepeatForAPortAsync();
    }

    [Test, Claim("SCH-16")]
    public async Task Source_hashing_refuses_when_its_server_has_weight_zero()
    {
        var server = VirtualServerSpec.Tcp(Service, "sh").Masquerading(Two);
        await AddAsync(server);
        var chosen = (await SequenceAsync(1))[0];

        await Director.Ipvs.EditAsync(server.Weighing(chosen == '1' ? 0 : 1, chosen == '2' ? 0 : 1));

        await (await Client.AskAsync(Service)).ShouldNotBeAnsweredAsync();
    }

    [Test, Claim("SCH-17")]
    public async Task Source_hashing_with_fallback_takes_another_server()
    {
        var server = (VirtualServerSpec.Tcp(Service, "sh") with { SchedulerFlags = "sh-fallback" }).Masquerading(Two);
        await AddAsync(server);
        var chosen = (await SequenceAsync(1))[0];

        await Director.Ipvs.EditAsync(server.Weighing(chosen == '1' ? 0 : 1, chosen == '2' ? 0 : 1));

        (await SequenceAsync(4)).ShouldBe(new string(chosen == '1' ? '2' : '1', 4));
    }

    [Test, Claim("SCH-18")]
    public async Task Maglev_hashing_keeps_a_client_on_one_server()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "mh").Masquerading(Four));

        (await SequenceAsync(8)).Distinct().Count().ShouldBe(1);
        (await SequenceAsync(8, Client2)).Distinct().Count().ShouldBe(1);
    }

    [Test, Claim("SCH-19")]
    public async Task Maglev_hashing_with_the_port_spreads_the_connections_of_a_client()
    {
        await AddAsync((VirtualServerSpec.Tcp(Service, "mh") with { SchedulerFlags = "mh-port" }).Masquerading(Four));

        await ShouldSpreadAsync();
        await ShouldRepeatForAPortAsync();
    }

    [Test, Claim("SCH-20")]
    public async Task Maglev_hashing_moves_few_connections_when_a_server_goes()
    {
        const int ports = 32;
        var server = (VirtualServerSpec.Tcp(Service, "mh") with { SchedulerFlags = "mh-port" }).Masquerading(Four);
        await AddAsync(server);
        var before = await ByPortAsync(ports);

        await Director.RunAsync("ipvsadm -d -t 10.10.0.1:8410 -r 172.16.0.102:8080");
        var after = await ByPortAsync(ports);

        before.Values.ShouldContain("rs4");
        after.Values.ShouldNotContain("rs4");
        // Those of the other three servers stay, but for the few whose place in the table moved: at most 6 of about 24.
        before.Count(b => b.Value != "rs4" && after[b.Key] != b.Value).ShouldBeLessThanOrEqualTo(6);
    }

    [Test, Claim("SCH-21")]
    public async Task Maglev_hashing_with_fallback_takes_another_server()
    {
        var server = (VirtualServerSpec.Tcp(Service, "mh") with { SchedulerFlags = "mh-fallback" }).Masquerading(Two);
        await AddAsync(server);
        var chosen = (await SequenceAsync(1))[0];

        await Director.Ipvs.EditAsync(server.Weighing(chosen == '1' ? 0 : 1, chosen == '2' ? 0 : 1));

        (await SequenceAsync(4)).ShouldBe(new string(chosen == '1' ? '2' : '1', 4));
    }

    [TestCase("dh"), TestCase("lblc"), TestCase("lblcr"), Claim("SCH-22")]
    public async Task By_destination_an_address_has_one_server_for_every_client(string scheduler)
    {
        await SetUpMarkedAddressesAsync(VirtualServerSpec.Mark(Mark, scheduler).Masquerading("rs1", "rs2", "rs3", "rs4"));

        var servers = new List<char>();
        for (var i = 1; i <= Addresses; i++)
        {
            var target = $"10.10.1.{i}:8080";
            var sequence = await SequenceAsync(2, Client, target) + await SequenceAsync(1, Client2, target);
            sequence.Distinct().Count().ShouldBe(1, $"{target}: {sequence}");
            servers.Add(sequence[0]);
        }

        servers.Distinct().Count().ShouldBeGreaterThan(1, $"{Addresses} addresses are spread over the servers");
    }

    [TestCase("lblc"), TestCase("lblcr"), Claim("SCH-23")]
    public async Task By_locality_an_overloaded_server_gives_the_address_away(string scheduler)
    {
        await SetUpMarkedAddressesAsync(VirtualServerSpec.Mark(Mark, scheduler).Masquerading("rs1", "rs2"));

        // More open connections than the weight (1), and another server with less than half of its weight: the address moves.
        var held = new List<Flow>();
        for (var i = 0; i < 4; i++)
            held.Add(await Client.ConnectAsync("10.10.1.1:8080"));

        (await NumbersAsync(held)).Distinct().Count().ShouldBe(2);
    }

    /// <summary>A network of virtual addresses; what goes to them has a firewall mark, and the mark a virtual server.</summary>
    private async Task SetUpMarkedAddressesAsync(VirtualServerSpec server)
    {
        await Director.RunAsync("ip route add local 10.10.1.0/24 dev lo");
        await Director.RunAsync($"iptables -w -t mangle -A PREROUTING -d 10.10.1.0/24 -p tcp --dport 8080 -j MARK --set-mark {Mark}");
        await AddAsync(server);
    }

    /// <summary>With 32 source ports and a fair hash each of four servers is missed with a probability of 1 in 10,000.</summary>
    private async Task ShouldSpreadAsync() => (await ByPortAsync(32)).Values.Distinct().Count().ShouldBe(4);

    private async Task ShouldRepeatForAPortAsync()
    {
        var first = await ByPortAsync(8);
        (await ByPortAsync(8)).ShouldBe(first);
    }

    /// <summary>The server for each source port; the client resets each connection, so that its port can be used again.</summary>
    private async Task<Dictionary<int, string>> ByPortAsync(int count)
    {
        var servers = new Dictionary<int, string>();
        for (var port = 20_000; port < 20_000 + count; port++)
        {
            var flow = await Client.ConnectAsync(Service, port);
            await flow.ShouldBeAnsweredAsync();
            servers[port] = flow.Answer!.Server;
            await flow.ResetAsync();
        }
        return servers;
    }
}
