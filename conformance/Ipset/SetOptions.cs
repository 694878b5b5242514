using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipset;

/// <summary>Options of sets and entries, changes under traffic, and what ipset(8) refuses.</summary>
[Topology("article-nat")]
public sealed class SetOptions : SetFixture
{
    [Test, Claim("IPS-16")]
    public async Task An_entry_goes_when_its_time_is_over()
    {
        await RestoreAsync("create black hash:ip timeout 600", $"add black {Rs2.Address} timeout 1", $"add black {Rs1.Address}");
        await DropAsync("--match-set black src");
        await (await Rs1.AskAsync(Website)).ShouldBeMetWithSilenceAsync();

        await Eventually.Async("the entry of one second is gone", async () => await EntryAsync("black", $"{Rs2.Address} ") is null,
            gone => gone);

        await (await Rs2.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
        (await EntryAsync("black", $"{Rs1.Address} timeout ")).ShouldNotBeNull("it has the set's time");
    }

    [Test, Claim("IPS-17")]
    public async Task Counters_of_an_entry_count_the_packets_that_matched_it()
    {
        await RestoreAsync("create black hash:ip,port counters", $"add black {Rs2.Address},udp:8410", $"add black {Rs1.Address},udp:8410");
        await DropAsync("--match-set black src,dst");

        await (await Rs2.AskUdpAsync(Website)).ShouldBeMetWithSilenceAsync();

        (await EntryAsync("black", $"{Rs2.Address},udp:8410 ")).ShouldStartWith($"{Rs2.Address},udp:8410 packets 1 bytes ");
        (await EntryAsync("black", $"{Rs1.Address},udp:8410 ")).ShouldBe($"{Rs1.Address},udp:8410 packets 0 bytes 0");
    }

    [Test, Claim("IPS-18")]
    public async Task A_comment_stays_with_its_entry()
    {
        await RestoreAsync("create black hash:ip comment", $"add black {Rs2.Address} comment \"the article's second server\"");

        (await EntryAsync("black", Rs2.Address.ToString())).ShouldBe($"{Rs2.Address} comment \"the article's second server\"");
    }

    [Test, Claim("IPS-19")]
    public async Task A_full_set_takes_no_entry_and_keeps_those_that_it_has()
    {
        await RestoreAsync(["create black hash:ip hashsize 64 maxelem 64", .. Enumerable.Range(1, 64)
            .Select(i => $"add black 10.9.8.{i}")]);

        await ShouldBeRefusedAsync($"ipset add black {Rs2.Address}", "Hash is full, cannot add more elements");

        (await EntryAsync("black", "10.9.8.64")).ShouldNotBeNull();
        await DropAsync("--match-set black src");
        await (await Rs2.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-20")]
    public async Task Sets_that_are_swapped_let_no_packet_of_both_pass()
    {
        const int questions = 300;
        await RestoreAsync("create black hash:ip", $"add black {Rs2.Address}", "create other hash:ip", $"add other {Rs2.Address}",
            $"add other {Rs1.Address}");
        await DropAsync("--match-set black src");
        var asking = Rs2.Command("bash", "-c", $"for i in $(seq {questions}); do echo $i >/dev/udp/{Director.Address}/8410; done")
            .ExecuteAsync();

        var swaps = 0;
        for (; !asking.IsCompleted || swaps % 100 != 0 || swaps == 0; swaps += 100)
            await RestoreAsync([.. Enumerable.Repeat("swap black other", 99), "swap black other"]);
        await asking;

        var server = Director.Servers.Single(s => s.Protocol == TransportProtocol.Udp);
        server.Peers.ShouldNotContain(p => p.Address.Equals(Rs2.Address), $"{questions} datagrams, {swaps} swaps");
        await (await Client.AskUdpAsync(Website)).ShouldBeAnsweredByAsync("director");
        await RestoreAsync("swap black other");
        await (await Rs1.AskUdpAsync(Website)).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("IPS-21")]
    public async Task A_rule_can_add_the_source_of_a_packet_to_a_set()
    {
        await RestoreAsync("create black hash:ip");
        await Director.RunAsync("iptables -w -A INPUT -p udp --dport 8410 -j SET --add-set black src");

        await (await Rs2.AskUdpAsync(Website)).ShouldBeAnsweredByAsync("director");

        (await EntryAsync("black", Rs2.Address.ToString())).ShouldNotBeNull();
        (await EntryAsync("black", Rs1.Address.ToString())).ShouldBeNull();
    }

    [Test, Claim("IPS-22")]
    public async Task A_set_that_a_rule_names_cannot_be_destroyed()
    {
        await RestoreAsync("create black hash:ip", $"add black {Rs2.Address}");
        await DropAsync("--match-set black src");

        await ShouldBeRefusedAsync("ipset destroy black", "Set cannot be destroyed: it is in use by a kernel component");

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
    }

    [Test, Claim("IPS-23")]
    public async Task Mistakes_are_refused_and_change_nothing()
    {
        await RestoreAsync("create black hash:ip,port", $"add black {Rs2.Address},tcp:8410", "create ports bitmap:port range 8000-9000",
            "create networks hash:net");
        var before = await Director.RunAsync("ipset save");

        await ShouldBeRefusedAsync($"ipset add black {Rs2.Address},tcp:8410", "it's already added");
        await ShouldBeRefusedAsync($"ipset del black {Rs1.Address},tcp:8410", "it's not added");
        await ShouldBeRefusedAsync($"ipset add black {Rs2.Address}", "Second element is missing");
        await ShouldBeRefusedAsync("ipset add black fd00::1,tcp:8410", "resolving to IPv4 address failed");
        await ShouldBeRefusedAsync("ipset add ports 9001", "out of the range of the set");
        await ShouldBeRefusedAsync("ipset add networks 10.0.0.0/33", "'33' is out of range 0-32");
        await ShouldBeRefusedAsync("ipset create black hash:net", "set with the same name already exists");
        await ShouldBeRefusedAsync("ipset create white hash:address", "typename 'hash:address' is unknown");
        await ShouldBeRefusedAsync("ipset swap black ports", "type does not match");
        await ShouldBeRefusedAsync("ipset add white 10.0.0.1", "The set with the given name does not exist");
        await ShouldBeRefusedAsync("iptables -w -A INPUT -m set --match-set white src -j DROP", "Set white doesn't exist");

        (await Director.RunAsync("ipset save")).ShouldBe(before);
    }
}
