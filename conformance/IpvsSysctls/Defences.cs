using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;

namespace Conformance.Suite.IpvsSysctls;

/// <summary>Defences against floods, and what else concerns a director that does not see replies (ipvs-sysctl.rst).</summary>
[Topology("dr")]
public sealed class Defences() : SharedAddressFixture(SetUpBy.Ipvsadm)
{
    private const int HalfOpen = 200;

    [Test, Claim("SYSCTL-13")]
    public async Task With_secure_tcp_a_half_open_connection_has_another_state()
    {
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080")); // which has no such address, and is silent
        (await StateAsync()).ShouldBe("SYN_RECV");

        await Director.SetSysctlAsync("net.ipv4.vs.secure_tcp", "3");

        // The kernel looks at its defence once a second.
        await Eventually.Async("the other table of states is used", StateAsync, state => state == "SYNACK", TimeSpan.FromSeconds(10));

        async Task<string> StateAsync()
        {
            var flow = await Client.AskAsync(SharedService);
            return Director.IpvsConnections().Single(c => c.Client.Port == flow.Local.Port).State;
        }
    }

    [Test, Claim("SYSCTL-14")]
    public async Task With_drop_entry_half_open_connections_are_forgotten()
    {
        await SetUpDirectorAsync(VirtualServerSpec.Tcp(SharedService).Routing("rs1:8080")); // which has no such address, and is silent
        await Client.Command("perl", "-MSocket", "-MFcntl", "-e",
            $"for (1..{HalfOpen}) {{ socket(my $s, PF_INET, SOCK_STREAM, 0); fcntl($s, F_SETFL, O_NONBLOCK); " +
            $"connect($s, sockaddr_in(8080, inet_aton('{SharedVip}'))); push @open, $s }} select(undef, undef, undef, 0.2)").ExecuteAsync();
        Director.IpvsConnections().Count.ShouldBe(HalfOpen, "each for a minute");

        await Director.SetSysctlAsync("net.ipv4.vs.drop_entry", "3");

        // Once a second the kernel looks at as many rows, chosen at random, as a 32nd of the table has.
        await Eventually.Async("some are forgotten", () => Director.IpvsConnections().Count, c => c < HalfOpen, TimeSpan.FromSeconds(15));
    }

    [Test, Claim("SYSCTL-16")]
    public async Task With_schedule_icmp_an_error_without_a_connection_reaches_a_real_server()
    {
        await SetUpRealServersAsync(hidden: true, Rs1);
        await SetUpDirectorAsync(VirtualServerSpec.Udp($"{SharedVip}:8053").Routing("rs1:8053"));

        await AnswerUnaskedAsync();
        Arrived().ShouldBeEmpty();
        await Director.SetSysctlAsync("net.ipv4.vs.schedule_icmp", "1");
        await AnswerUnaskedAsync();

        (await Eventually.Async("the error is forwarded", Arrived, a => a.Count > 0)).ShouldHaveSingleItem()
            .Quoted!.Source!.ToString().ShouldBe($"{SharedVip}:8053");

        // As another director's connection would: the client has no such socket, and answers the virtual address by ICMP 3/3.
        async Task AnswerUnaskedAsync()
        {
            var before = AtDirector();
            await Rs1.Command("perl", "-MIO::Socket::INET", "-e",
                $"IO::Socket::INET->new(Proto => 'udp', LocalAddr => '{SharedVip}:8053', PeerAddr => '{Client.Address}:9')->send('late')")
                .ExecuteAsync();
            await Eventually.Async("the client's error is at the director", AtDirector, count => count > before);
        }

        int AtDirector() => Lab.Wire.Packets().Count(p => p is { Node: "director", IsLeaving: false, Packet.Icmp: { Type: 3, Code: 3 } });
        List<Packets.IcmpMessage> Arrived() => [.. Lab.Wire.Packets()
            .Where(p => p is { Node: "rs1", IsLeaving: false, Packet.Icmp: { Type: 3, Code: 3 } }).Select(p => p.Packet.Icmp!)];
    }
}
