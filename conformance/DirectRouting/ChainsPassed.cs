using Conformance.Labs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.DirectRouting;

/// <summary>Which chains of iptables the packets of direct routing pass, and what a policy DROP of each does.</summary>
[Topology("dr")]
public sealed class ChainsPassed() : SharedAddressFixture(SetUpBy.Ipvsadm)
{
    [SetUp]
    public async Task SetUpOneServerAsync()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080"));
    }

    [Test, Claim("DR-10")]
    public async Task Requests_pass_input_and_output_and_no_reply_comes_by()
    {
        await CountChainsAsync(Director);

        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredByAsync("rs1");

        (await ChainsPassedAsync(Director, "request")).ShouldBe(["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]);
        (await ChainsPassedAsync(Director, "reply")).ShouldBeEmpty();
    }

    [TestCase("INPUT")]
    [TestCase("OUTPUT")]
    [Claim("DR-11")]
    public async Task A_policy_of_drop_at_input_or_output_stops_requests(string chain)
    {
        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredByAsync("rs1");

        await Director.RunAsync($"iptables -w -P {chain} DROP");

        var flow = await Client.AskAsync(SharedService);
        await flow.ShouldBeMetWithSilenceAsync();
        await flow.ShouldBeSeenAsAsync(On("director").Arriving.Syn(to: SharedService));
        await flow.ShouldNotBeSeenAsync(On("director").Leaving.Syn());
    }

    [Test, Claim("DR-12")]
    public async Task A_policy_of_drop_at_forward_stops_nothing()
    {
        await Director.RunAsync("iptables -w -P FORWARD DROP");

        await (await Client.AskAsync(SharedService)).ShouldBeAnsweredByAsync("rs1");
    }

    [Test, Claim("DR-13")]
    public async Task The_director_itself_is_no_client()
    {
        var flow = await Director.AskAsync(SharedService);

        await flow.ShouldNotBeAnsweredAsync();
        Director.IpvsConnections().ShouldHaveSingleItem().Client.Address.ToString().ShouldBe(SharedVip);
        var questions = Lab.Wire.Packets().Where(p => p.Packet.Arp is { IsRequest: true } arp && arp.Target.Equals(Rs1.Address)).ToList();
        questions.ShouldContain(p => p.Node == "director" && p.IsLeaving && p.Packet.Arp!.Sender.ToString() == SharedVip);
        Lab.Wire.Packets().ShouldNotContain(p => p.Node == "rs1" && p.IsLeaving && p.Packet.Arp != null && !p.Packet.Arp.IsRequest
            && p.Packet.Arp.Target.ToString() == SharedVip);
    }
}
