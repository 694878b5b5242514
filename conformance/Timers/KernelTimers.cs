using System.Diagnostics;
using Conformance.Labs.Waiting;
using Conformance.Linux.Features;
using Conformance.Linux.Ipvs;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Timers;

/// <summary>
/// How long IPVS remembers: the time-outs of its TCP states (ip_vs_proto_tcp.c), of which ipvsadm sets three. Waited for in
/// full; the other chapters are made so that they need not.
/// </summary>
[Topology("routed-nat")]
[Category("slow")]
[Requires(Feature.Ipvs)]
public sealed class KernelTimers : ConformanceFixture
{
    private const string Vip = "10.10.0.1";

    [Test, Claim("TIMER-1")]
    public async Task Closed_connection_stays_in_time_wait_for_120_s()
    {
        await ServeAsync();
        await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync("rs1");

        await ShouldReachStateAsync("TIME_WAIT");
        (await SecondsUntilForgottenAsync(_ => true, atMost: 150)).ShouldBeInRange(110, 135);
    }

    [Test, Claim("TIMER-2")]
    public async Task Unanswered_connection_stays_in_syn_recv_for_60_s()
    {
        await ServeAsync();
        await Rs1.Iptables.AddAsync(("filter", "-A INPUT -p tcp --dport 8080 -j DROP"));
        await (await Client.AskAsync($"{Vip}:80")).ShouldTimeOutAsync();

        await ShouldReachStateAsync("SYN_RECV");
        (await SecondsUntilForgottenAsync(_ => true, atMost: 90)).ShouldBeInRange(50, 75);
    }

    [Test, Claim("TIMER-3")]
    public async Task Reset_connection_stays_in_close_for_10_s()
    {
        await ServeAsync();
        var flow = await Client.ConnectAsync($"{Vip}:80");
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ResetAsync();

        await ShouldReachStateAsync("CLOSE");
        (await SecondsUntilForgottenAsync(_ => true, atMost: 30)).ShouldBeInRange(8, 20);
    }

    [Test, Claim("TIMER-4")]
    public async Task Ipvsadm_set_changes_established_but_not_time_wait()
    {
        await ServeAsync();
        await Director.RunAsync("ipvsadm --set 20 21 22");
        await using var open = await Client.ConnectAsync($"{Vip}:80");
        await (await Client.AskAsync($"{Vip}:80")).ShouldBeAnsweredByAsync("rs1");

        Of("ESTABLISHED").ExpiresInSeconds.ShouldBeInRange(15, 20);
        Of("TIME_WAIT").ExpiresInSeconds.ShouldBeInRange(110, 120);

        IpvsConnection Of(string state) => Director.IpvsConnections().Single(c => c.State == state);
    }

    [Test, Claim("TIMER-5")]
    public async Task Persistence_template_with_a_connection_lasts_longer()
    {
        await ServeAsync(persistence: " -p 5");
        var flow = await Client.ConnectAsync($"{Vip}:80");
        await flow.ShouldBeAnsweredByAsync("rs1");
        await flow.ResetAsync();

        (await SecondsUntilForgottenAsync(c => c.Client.Port == 0, atMost: 90)).ShouldBeInRange(50, 80);
    }

    private async Task ServeAsync(string persistence = "")
    {
        await Director.AddAddressAsync($"{Vip}/32", "lo");
        await Director.RunAsync($"ipvsadm -A -t {Vip}:80 -s rr{persistence}");
        await Director.RunAsync($"ipvsadm -a -t {Vip}:80 -r {Rs1.Address}:8080 -m");
    }

    /// <summary>The flow's last packet may still be on its way to the director when the client has sent it.</summary>
    private Task ShouldReachStateAsync(string state) => Eventually.Async($"the connection is in {state}", Director.IpvsConnections,
        connections => connections.ShouldHaveSingleItem().State == state);

    private async Task<double> SecondsUntilForgottenAsync(Func<IpvsConnection, bool> isMeant, int atMost)
    {
        Director.IpvsConnections().ShouldContain(c => isMeant(c));
        var clock = Stopwatch.StartNew();
        await Eventually.Async("IPVS has forgotten it", Director.IpvsConnections, connections => !connections.Any(isMeant),
            TimeSpan.FromSeconds(atMost), pause: TimeSpan.FromMilliseconds(500));
        return clock.Elapsed.TotalSeconds;
    }
}
