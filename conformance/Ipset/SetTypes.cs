using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipset;

/// <summary>What each dimension of a set matches: the types that a proxy uses, and the others that ipset(8) names.</summary>
[Topology("article-nat")]
public sealed class SetTypes : SetFixture
{
    [Test, Claim("IPS-8")]
    public async Task The_nth_direction_is_that_of_the_nth_dimension()
    {
        await RestoreAsync("create black hash:ip,port", $"add black {Rs2.Address},tcp:35562");
        await DropAsync("--match-set black src,src");

        await (await Rs2.AskAsync(Website, sourcePort: 35562)).ShouldBeMetWithSilenceAsync();
        await (await Rs2.AskAsync(Website, sourcePort: 35563)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-9")]
    public async Task An_address_port_and_address_match_all_three()
    {
        await RestoreAsync("create black hash:ip,port,ip", $"add black {Director.Address},tcp:8410,{Rs2.Address}");
        await DropAsync("--match-set black dst,dst,src");

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs1.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
        await (await Rs2.AskUdpAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-10")]
    public async Task An_address_port_and_network_match_every_address_of_the_network()
    {
        await RestoreAsync("create black hash:ip,port,net", $"add black {Director.Address},tcp:8410,192.168.113.100/31");
        await DropAsync("--match-set black dst,dst,src");

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync(); // .100
        await (await Rs1.AskAsync(Website)).ShouldBeAnsweredByAsync("director"); // .99
    }

    [Test, Claim("IPS-11")]
    public async Task A_bitmap_of_ports_matches_any_address_and_any_protocol()
    {
        await RestoreAsync("create black bitmap:port range 8000-9000", "add black 8410");
        await DropAsync("--match-set black dst");
        Director.Serve(Linux.TransportProtocol.Tcp, 8411);

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs1.AskUdpAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs2.AskAsync("director:8411")).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-12")]
    public async Task The_most_specific_network_decides_and_nomatch_excepts_it()
    {
        await RestoreAsync("create black hash:net", "add black 192.168.113.0/24", $"add black {Rs1.Address}/32 nomatch");
        await DropAsync("--match-set black src");

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs1.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-13")]
    public async Task A_list_matches_what_one_of_its_sets_matches()
    {
        await RestoreAsync("create some hash:ip", $"add some {Rs2.Address}", "create others hash:net", $"add others {Rs1.Address}/32",
            "create black list:set", "add black some", "add black others");
        await DropAsync("--match-set black src");

        await (await Rs2.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs1.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Client.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
    }

    [Test, Claim("IPS-14")]
    public async Task A_protocol_can_be_named_or_be_a_number()
    {
        await RestoreAsync("create black hash:ip,port", $"add black {Rs2.Address},udp:8410", $"add black {Rs1.Address},6:8410");
        await DropAsync("--match-set black src,dst");

        await (await Rs2.AskUdpAsync(Website)).ShouldBeMetWithSilenceAsync();
        await (await Rs2.AskAsync(Website)).ShouldBeAnsweredByAsync("director");
        await (await Rs1.AskAsync(Website)).ShouldBeMetWithSilenceAsync();
        (await EntryAsync("black", Rs1.Address.ToString())).ShouldBe($"{Rs1.Address},tcp:8410");
    }

    [Test, Claim("IPS-15")]
    public async Task A_set_of_inet6_holds_no_ipv4_address()
    {
        await RestoreAsync("create black6 hash:ip,port family inet6", "add black6 fd00::100,tcp:8410");

        (await EntryAsync("black6", "fd00::100")).ShouldBe("fd00::100,tcp:8410");
        await ShouldBeRefusedAsync("ipset add black6 192.168.113.100,tcp:8410", "resolving to IPv6 address failed");
        await ShouldBeRefusedAsync("iptables -w -I INPUT -m set --match-set black6 src,dst -j DROP", "is not applicable");
    }
}
