using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Schedulers;

/// <summary>Article 1.2: schedulers that count turns or connections. Sequences are exact.</summary>
[Topology("nat-four")]
[TestFixture(SetUpBy.Ipvsadm)]
[TestFixture(SetUpBy.Keepalived)]
public sealed class ByConnections(SetUpBy by) : SchedulerFixture(by)
{
    [Test, Claim("SCH-1")]
    public async Task Round_robin_takes_the_servers_in_turn()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "rr").Masquerading(Four));

        var sequence = await SequenceAsync(12);

        sequence.ShouldBe(string.Concat(Enumerable.Repeat(sequence[..4], 3)));
        Sorted(sequence[..4]).ShouldBe("1234");
    }

    [Test, Claim("SCH-2")]
    public async Task Weighted_round_robin_gives_each_server_its_weight_in_every_round()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "wrr").Masquerading(Two).Weighing(3, 1));

        var sequence = await SequenceAsync(12);

        for (var round = 0; round < 12; round += 4)
            sequence.Substring(round, 4).Count(c => c == '1').ShouldBe(3, sequence);
    }

    [Test, Claim("SCH-3")]
    public async Task Least_connection_takes_the_server_with_the_fewest_open_connections()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "lc").Masquerading(Four));

        var sequence = await HeldSequenceAsync(12);

        for (var round = 0; round < 12; round += 4)
            Sorted(sequence.Substring(round, 4)).ShouldBe("1234", sequence);
    }

    [Test, Claim("SCH-3")]
    public async Task Least_connection_counts_closed_connections_until_they_expire()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "lc").Masquerading(Two));

        var closed = await SequenceAsync(6);
        var table = Director.IpvsTable().VirtualServers.ShouldHaveSingleItem();
        table.RealServers.ShouldAllBe(r => r.ActiveConnections == 0 && r.InactiveConnections == 3, closed);

        // One open connection counts as 256 closed ones.
        var held = (await NumbersAsync(await HoldAsync(1)))[0];
        (await SequenceAsync(6)).ShouldNotContain(held);
    }

    [Test, Claim("SCH-4")]
    public async Task Weighted_least_connection_fills_the_servers_by_their_weights()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "wlc").Masquerading(Two).Weighing(3, 1));

        var sequence = await HeldSequenceAsync(12);

        sequence.Count(c => c == '1').ShouldBe(9, sequence);
    }

    [Test, Claim("SCH-6")]
    public async Task Shortest_expected_delay_counts_the_connection_that_it_places()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "sed").Masquerading(Two).Weighing(3, 1));

        // (active + 1) / weight of rs1: 1/3, 2/3, 3/3; of rs2: 1. Of equals the server that was added last is taken.
        var sequence = await HeldSequenceAsync(8);

        sequence.ShouldBe("11211121");
    }

    [Test, Claim("SCH-7")]
    public async Task Never_queue_takes_an_idle_server_first()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "nq").Masquerading(Two).Weighing(9, 1));

        var sequence = await HeldSequenceAsync(6);

        Sorted(sequence[..2]).ShouldBe("12", "an idle server, however slow, before a busy one");
        sequence[2..].ShouldBe("1111");
    }

    [Test, Claim("SCH-8")]
    public async Task Weighted_failover_takes_the_server_of_the_highest_weight()
    {
        var server = VirtualServerSpec.Tcp(Service, "fo").Masquerading(Four);
        await AddAsync(server.Weighing(1, 9, 5, 2));

        (await SequenceAsync(4)).ShouldBe("2222");

        await Director.Ipvs.EditAsync(server.Weighing(1, 0, 5, 2));
        (await SequenceAsync(4)).ShouldBe("3333");
    }

    [Test, Claim("SCH-9")]
    public async Task Weighted_overflow_fills_a_server_past_its_weight_before_the_next()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "ovf").Masquerading(Two).Weighing(3, 2));

        (await HeldSequenceAsync(7)).ShouldBe("1111222");
    }

    [Test, Claim("SCH-10")]
    public async Task A_server_of_weight_zero_keeps_its_connections_and_gets_no_new_one()
    {
        var server = VirtualServerSpec.Tcp(Service, "rr").Masquerading(Two);
        await AddAsync(server);
        var held = await HoldAsync(2);
        var onFirst = held.Single(f => f.Answer?.Server == "rs1");

        await Director.Ipvs.EditAsync(server.Weighing(0, 1));

        (await SequenceAsync(4)).ShouldBe("2222");
        await onFirst.ExchangeAsync(1000);
    }

    [Test, Claim("SCH-11")]
    public async Task A_new_weight_counts_for_the_next_connection()
    {
        var server = VirtualServerSpec.Tcp(Service, "wrr").Masquerading(Two);
        await AddAsync(server);
        var even = await SequenceAsync(8);

        await Director.Ipvs.EditAsync(server.Weighing(3, 1));
        var uneven = await SequenceAsync(8);

        even.Count(c => c == '1').ShouldBe(4, even);
        uneven.Count(c => c == '1').ShouldBe(6, uneven);
    }

    [Test, Claim("SCH-12")]
    public async Task A_server_at_its_upper_threshold_gets_no_further_connection()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "rr").Masquerading(Two).Limited(2));

        var held = await HoldAsync(4);
        Sorted(await NumbersAsync(held)).ShouldBe("1122");
        var refused = await Client.AskAsync(Service);

        await refused.ShouldNotBeAnsweredAsync();
        await refused.ShouldNotBeSeenAsync(On("director").Leaving.Syn());
    }

    [Test, Claim("SCH-13")]
    public async Task A_server_below_its_lower_threshold_gets_connections_again()
    {
        await AddAsync(VirtualServerSpec.Tcp(Service, "rr").Masquerading(Two).Limited(3, 2));
        var held = await HoldAsync(6);
        var first = held.Where(f => f.Answer?.Server == "rs1").ToList();
        first.Count.ShouldBe(3);

        await first[0].ResetAsync();
        await ConnectionsOfRs1Async(2);
        var atTheThreshold = await Client.AskAsync(Service);
        await first[1].ResetAsync();
        await ConnectionsOfRs1Async(1);
        var below = await Client.AskAsync(Service);

        await atTheThreshold.ShouldNotBeAnsweredAsync();
        await below.ShouldBeAnsweredByAsync("rs1");
    }

    /// <summary>A connection that was reset is forgotten after 10 s.</summary>
    private Task ConnectionsOfRs1Async(int count) => Eventually.Async($"rs1 has {count} connections",
        () => Director.IpvsTable().VirtualServers[0].RealServers.Single(r => r.Address.Equals(Rs1.Address)),
        r => r.ActiveConnections + r.InactiveConnections == count, TimeSpan.FromSeconds(20));
}
