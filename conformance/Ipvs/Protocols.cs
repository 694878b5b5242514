using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Ipvs;

/// <summary>Protocols whose packets contain addresses: how far IPVS rewrites them.</summary>
[Topology("routed-nat")]
public sealed class Protocols : ArticleFixture
{
    private const string SecondAddress = "192.168.113.202";
    private const byte Heartbeat = 4; // RFC 9260, 3.2

    /// <summary>
    /// An FTP server that has one file. It announces port 30000 for a passive transfer, and opens an active one from port 20.
    /// </summary>
    private const string FtpServer = """
        use strict;
        use IO::Socket::INET;
        my $address = shift =~ tr/./,/r;
        my $data = IO::Socket::INET->new(LocalPort => 30000, Listen => 5, ReuseAddr => 1) or die $!;
        my $control = IO::Socket::INET->new(LocalPort => 21, Listen => 5, ReuseAddr => 1) or die $!;
        while (my $client = $control->accept) {
            my $say = sub { print $client "$_[0]\r\n" };
            $say->("220 ready");
            my @active = ();
            while (my $line = <$client>) {
                my ($verb) = $line =~ /^(\w+)/;
                if ($verb eq "USER") { $say->("230 welcome") }
                elsif ($verb eq "PWD") { $say->('257 "/"') }
                elsif ($verb eq "TYPE") { $say->("200 type set") }
                elsif ($verb eq "PASV") { $say->("227 Entering Passive Mode ($address,117,48)") }
                elsif ($verb eq "PORT") { @active = $line =~ /(\d+)/g; $say->("200 port set") }
                elsif ($verb eq "RETR") {
                    $say->("150 transfer begins");
                    my $transfer = !@active ? $data->accept : IO::Socket::INET->new(LocalPort => 20, ReuseAddr => 1,
                        PeerAddr => join(".", @active[0..3]), PeerPort => $active[4] * 256 + $active[5]) or die $!;
                    print $transfer "the file of an FTP server\n";
                    close $transfer;
                    $say->("226 done");
                }
                elsif ($verb eq "QUIT") { $say->("221 bye"); last }
                else { $say->("502 unknown") }
            }
        }
        """;

    [Test, Claim("VS-18"), Requires(Feature.IpvsConntrack)]
    public async Task The_ftp_helper_rewrites_the_address_of_the_data_connection()
    {
        await SetUpFtpAsync();

        (await TransferAsync(2121, "--disable-epsv", "--no-ftp-skip-pasv-ip")).Destination!.ToString().ShouldBe("172.16.0.99:30000");
        (await TransferAsync(21, "--disable-epsv", "--no-ftp-skip-pasv-ip")).Destination!.ToString().ShouldBe($"{Vip}:30000");
    }

    [Test, Claim("VS-20"), Requires(Feature.IpvsConntrack)]
    public async Task The_ftp_helper_translates_an_active_data_connection()
    {
        await SetUpFtpAsync();

        (await TransferAsync(2121, "--disable-eprt", "--ftp-port", "-")).Source!.ToString().ShouldBe("172.16.0.99:20");
        (await TransferAsync(21, "--disable-eprt", "--ftp-port", "-")).Source!.ToString().ShouldBe($"{Vip}:20");
    }

    /// <summary>One FTP server behind two virtual servers: the helper looks at port 21 only.</summary>
    private async Task SetUpFtpAsync()
    {
        await Director.RunAsync("modprobe ip_vs_ftp");
        await Director.AddAddressAsync($"{Vip}/24");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Tcp($"{Vip}:21").Masquerading("rs1:21"),
            VirtualServerSpec.Tcp($"{Vip}:2121").Masquerading("rs1:21"));
        await Director.SetSysctlAsync("net.ipv4.vs.conntrack", "1");
        await Director.Iptables.AddAsync(("filter", "-A FORWARD -m conntrack --ctstate INVALID")); // switches connection tracking on
        await Rs1.StartAsync(21, "perl", "-e", FtpServer, Rs1.Address.ToString());
    }

    /// <summary>Transfers the file.</summary>
    /// <returns>The first packet of the data connection at the client.</returns>
    private async Task<Packets.Packet> TransferAsync(int port, params string[] mode)
    {
        var before = Lab.Wire.Packets().Count;
        (await Client.Command(["curl", "--silent", "--show-error", "--max-time", "10", .. mode, $"ftp://{Vip}:{port}/file"])
            .ExecuteAsync()).StandardOutput.ShouldBe("the file of an FTP server\n");
        return Lab.Wire.Packets().Skip(before).First(p => p is { Node: "client", Packet.Tcp.Flags: TcpFlags.Syn }
            && p.Packet.DestinationPort != port).Packet;
    }

    [Test, Claim("VS-19"), Requires(Feature.Sctp)]
    public async Task Heartbeats_to_the_second_address_of_a_client_are_not_translated()
    {
        // In ms, for the sockets that are opened from now on: a heartbeat comes after the interval and up to one and a half time-outs.
        await Rs1.SetSysctlAsync("net.sctp.hb_interval", "100");
        await Rs1.SetSysctlAsync("net.sctp.rto_min", "200");
        await Rs1.SetSysctlAsync("net.sctp.rto_initial", "200"); // 3 s otherwise
        Rs1.Serve(TransportProtocol.Sctp, 8080);
        await Client.AddAddressAsync($"{SecondAddress}/24");
        await Director.AddAddressAsync($"{Vip}/24");
        await Director.Ipvs.AddAsync(VirtualServerSpec.Sctp(Service).Masquerading("rs1:8080"));

        await using var flow = await Client.ConnectSctpAsync(Service);

        await flow.ShouldBeAnsweredByAsync("rs1");
        var heartbeats = await Eventually.Async("a heartbeat to the second address is at the client", Heartbeats, h => h.Count > 0);
        heartbeats.ShouldAllBe(h => h.Source!.ToString() == "172.16.0.99:8080");

        List<Packets.Packet> Heartbeats() => [.. Lab.Wire.Packets().Where(p => p is { Node: "client", IsLeaving: false }
            && p.Packet.DestinationAddress?.ToString() == SecondAddress && p.Packet.Payload.Length > 0
            && p.Packet.Payload.Span[0] == Heartbeat).Select(p => p.Packet)];
    }
}
