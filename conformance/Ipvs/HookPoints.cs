using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvs;

/// <summary>
/// Article 1.2: at which chains of iptables IPVS works. The kernel's list is ip_vs_ops4 in net/netfilter/ipvs/ip_vs_core.c.
/// </summary>
[Topology("routed-nat")]
public sealed class HookPoints : ArticleFixture
{
    [Test, Claim("VS-2")]
    public async Task Requests_pass_input_and_output_and_replies_pass_forward()
    {
        await SetUpServiceAsync("rs1:8080");
        await CountChainsAsync(Director);

        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");

        (await ChainsPassedAsync(Director, "request")).ShouldBe(["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]);
        (await ChainsPassedAsync(Director, "reply")).ShouldBe(["PREROUTING", "FORWARD", "POSTROUTING"]);
    }

    [Test, Claim("VS-2")]
    public async Task What_filter_input_drops_never_reaches_ipvs()
    {
        await SetUpServiceAsync("rs1:8080");
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");
        await Director.Iptables.AddAsync(("filter", "-A INPUT -p tcp --dport 8410 -m comment --comment input -j DROP"));

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeMetWithSilenceAsync();
        (await Director.Iptables.PacketsAsync("input")).ShouldBePositive();
        Director.IpvsConnections().ShouldNotContain(c => c.Client.Port == flow.Local.Port);
    }

    [Test, Claim("VS-2")]
    public async Task A_client_on_the_director_is_served_at_output()
    {
        await SetUpServiceAsync("rs1:8080");
        // What looped back to INPUT would be dropped.
        await Director.Iptables.AddAsync(("filter", "-A INPUT -p tcp --dport 8410 -j DROP"));

        var flow = await Director.AskAsync(Service);

        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(to: "rs1:8080"));
    }

    [Test, Claim("VS-3")]
    public async Task A_drop_in_output_stops_forwarded_requests()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.Iptables.AddAsync(
            ("filter", $"-A OUTPUT -p tcp -s {Client.Address} -d {Rs1.Address} --dport 8080 -m comment --comment output -j DROP"));

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeMetWithSilenceAsync();
        await flow.ShouldBeSeenAsAsync(On("director").Arriving.Syn(to: Service));
        await flow.ShouldNotBeSeenAsync(On("director").Leaving.Syn());
        (await Director.Iptables.PacketsAsync("output")).ShouldBePositive("IPVS sends what it has rewritten through LOCAL_OUT");
    }

    [Test, Claim("VS-17")]
    public async Task A_policy_of_drop_at_forward_stops_replies()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.RunAsync("iptables -w -P FORWARD DROP");

        var flow = await Client.AskAsync(Service);

        await flow.ShouldBeMetWithSilenceAsync();
        await flow.ShouldBeSeenAsAsync(On("rs1").Arriving.Syn(to: "rs1:8080"), On("director").Arriving.SynAck(from: "rs1:8080"));
        await flow.ShouldNotBeSeenAsync(On("director").Leaving.SynAck());
    }

    [Test, Claim("VS-4")]
    public async Task Without_a_local_virtual_address_the_packet_never_reaches_ipvs()
    {
        await SetUpServiceAsync("rs1:8080");
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");

        await Director.DeleteAddressAsync($"{Vip}/24");
        var without = await Client.AskAsync(Service);
        await without.ShouldMeetIcmpAsync(type: 3, code: 0, by: "director");
        await without.ShouldNotBeSeenAsync(On("rs1").Syn());

        await Director.AddAddressAsync($"{Vip}/24");
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");
    }

    [Test, Claim("VS-4")]
    public async Task A_local_route_does_as_well_as_an_address()
    {
        await SetUpServiceAsync("rs1:8080");
        await Director.DeleteAddressAsync($"{Vip}/24");

        await Director.RunAsync($"ip route add local {Vip}/32 dev lo");

        Director.Route.Addresses().ShouldNotContain(a => a.Address.ToString() == Vip);
        await (await Client.AskAsync(Service)).ShouldBeAnsweredByAsync("rs1");
    }
}
