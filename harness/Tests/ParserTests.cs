using System.Net;
using Conformance.Linux;
using Conformance.Linux.Iptables;
using Conformance.Linux.Ipvs;
using Conformance.Packets;
using Conformance.Traffic.Tracing;

namespace Conformance.Tests;

/// <summary>Texts and bytes of the kernel, recorded from Linux 6.1.</summary>
public sealed class ParserTests
{
    [Test]
    public void Ip_vs_is_parsed()
    {
        var table = IpvsTable.Parse("""
            IP Virtual Server version 1.2.1 (size=4096)
            Prot LocalAddress:Port Scheduler Flags
              -> RemoteAddress:Port Forward Weight ActiveConn InActConn
            TCP  0A0A0001:20DA rr persistent 30000 FFFFFFFF
              -> C0A87164:1F90      Masq    1      0          2
              -> C0A87163:1F90      Tunnel  3      1          0
            UDP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0035 wrr
            FWM  00000007 lc
            """);

        table.Header.ShouldBe("IP Virtual Server version 1.2.1 (size=4096)");
        table.VirtualServers.Count.ShouldBe(3);
        table.VirtualServers[0].EndPoint.ShouldBe(IPEndPoint.Parse("10.10.0.1:8410"));
        table.VirtualServers[0].Server.Flags.ShouldBe(VirtualServerFlags.Persistent);
        table.VirtualServers[0].RealServers.ShouldBe([
            new RealServer(IPAddress.Parse("192.168.113.100"), 8080, ForwardingMethod.Masq, 1, 0, 2),
            new RealServer(IPAddress.Parse("192.168.113.99"), 8080, ForwardingMethod.Tunnel, 3, 1, 0)]);
        table.VirtualServers[1].EndPoint.ShouldBe(IPEndPoint.Parse("[fd00::1]:53"));
        table.VirtualServers[2].Server.FirewallMark.ShouldBe(7u);
    }

    [Test]
    public void An_unknown_line_of_ip_vs_is_an_error() =>
        Should.Throw<FormatException>(() => IpvsTable.Parse("header\nnonsense\n")).Message.ShouldContain("nonsense");

    [Test]
    public void Ip_vs_conn_is_parsed() =>
        IpvsConnection.Parse("""
            Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
            TCP C0A87166 8AEA 0A0A0001 20DA C0A87163 1F90 SYN_RECV         59
            """).ShouldHaveSingleItem().ToString().ShouldBe("TCP 192.168.113.102:35562 -> 10.10.0.1:8410 -> 192.168.113.99:8080 SYN_RECV 59 s");

    [Test]
    public void Ip_vs_stats_is_parsed() =>
        IpvsStats.Parse("""
               Total Incoming Outgoing         Incoming         Outgoing
               Conns  Packets  Packets            Bytes            Bytes
                   A        B        C             186A0                0

             Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
                   0        0        0                0                0
            """).ShouldBe(new IpvsStats(10, 11, 12, 100_000, 0));

    [Test]
    public void A_frame_is_parsed_down_to_its_ports()
    {
        var packet = Packet.Parse(Convert.FromHexString(
            "0200c0a871650200c0a871660800" + "4500003c1c4640004006b1e6c0a871660a0a0001" + "8aea20da00000064000000005002faf000000000"));

        packet.ToString().ShouldBe("192.168.113.102:35562 > 10.10.0.1:8410 SYN");
        packet.Tcp!.Sequence.ShouldBe(100u);
        packet.SourceMac!.ToString().ShouldBe("0200C0A87166");
    }

    [Test]
    public void A_frame_cut_at_any_length_is_no_error()
    {
        var frame = Convert.FromHexString("0200c0a871650200c0a871660800" + "450000380000000040010000c0a87165c0a87166" + "0303000000000000"
            + "4500003c1c4640004006b1e6c0a871660a0a0001" + "8aea20da00000064");

        for (var length = 0; length <= frame.Length; length++)
            _ = Packet.Parse(frame.AsMemory(0, length)).ToString();

        Packet.Parse(frame).ToString()
            .ShouldBe("192.168.113.101 > 192.168.113.102 ICMP port unreachable (3/3) about [192.168.113.102:35562 > 10.10.0.1:8410]");
    }

    [Test]
    public void Sctp_is_parsed_to_its_chunk_and_known_again_after_nat()
    {
        const string head = "0200c0a871650200c0a871660800" + "45000034000040004084b1e6c0a871660a0a0001",
            chunk = "01000014" + "11223344" + "0001a000" + "000affff" + "00000001";

        var packet = Packet.Parse(Convert.FromHexString(head + "8aea20da" + "00000000" + "aaaaaaaa" + chunk));
        var rewritten = Packet.Parse(Convert.FromHexString(head + "8aeb1f90" + "00000000" + "bbbbbbbb" + chunk));
        var other = Packet.Parse(Convert.FromHexString(head + "8aea20da" + "00000007" + "aaaaaaaa" + chunk));

        packet.ToString().ShouldBe("192.168.113.102:35562 > 10.10.0.1:8410 SCTP INIT");
        rewritten.TransportIdentity.ShouldBe(packet.TransportIdentity, "ports and checksum are rewritten");
        other.TransportIdentity.ShouldNotBe(packet.TransportIdentity, "another association");
    }

    [Test]
    public void Dns_message_is_parsed_and_other_bytes_are_not()
    {
        var answer = Convert.FromHexString("1234" + "8183" + "0001" + "0000" + "0000" + "0000" + "026d79" + "03737663" + "00" + "0001"
            + "0001");

        DnsMessage.Parse(answer).ShouldBe(new DnsMessage("my.svc", 1, IsResponse: true, ResponseCode: 3, Answers: 0));
        for (var length = 0; length < answer.Length - 2; length++)
            DnsMessage.Parse(answer.AsSpan(0, length)).ShouldBeNull();
    }

    [Test]
    public void What_xtables_monitor_prints_is_a_walk()
    {
        var steps = NftTrace.Parse("""
            PACKET: 2 368d8528 IN=eth0 MACSRC=2:0:c0:a8:71:32 SRC=192.168.113.50 DST=10.96.0.1 LEN=60 TOS=0x0 TTL=64 ID=47644DF SPORT=41000 DPORT=80 SYN MARK=0x4000 
             TRACE: 2 368d8528 nat:KUBE-SERVICES:rule:0x4:JUMP:KUBE-MARK-MASQ  -4 -t nat -A KUBE-SERVICES -m comment --comment "for masquerade" -j KUBE-MARK-MASQ
             TRACE: 2 368d8528 nat:KUBE-NODE-PORT:return:
             TRACE: 2 368d8528 nat:PREROUTING:policy:ACCEPT 
            """);

        steps.Select(s => (s.Table, s.Chain, s.Kind, s.Target, s.Mark)).ShouldBe(
            [("nat", "KUBE-SERVICES", TraceKind.Rule, "KUBE-MARK-MASQ", 0x4000u),
                ("nat", "KUBE-NODE-PORT", TraceKind.Return, "RETURN", 0x4000u),
                ("nat", "PREROUTING", TraceKind.Policy, "policy", 0x4000u)]);
        steps[0].Rule.ShouldBe("-m comment --comment \"for masquerade\" -j KUBE-MARK-MASQ");
        steps[0].Packet.ToString().ShouldBe("192.168.113.50:41000 > 10.96.0.1:80 SYN");
    }

    [Test]
    public void A_traced_datagram_is_no_packet_of_TCP()
    {
        var steps = NftTrace.Parse("""
            PACKET: 2 b9cc9d59 IN=eth0 SRC=192.168.113.50 DST=10.96.0.1 LEN=47 TOS=0x0 TTL=64 ID=18086 SPORT=44013 DPORT=53 
             TRACE: 2 b9cc9d59 raw:PREROUTING:policy:ACCEPT 
            """);

        steps[0].Packet.ToString().ShouldBe("192.168.113.50:44013 > 10.96.0.1:53 UDP 19 bytes");
    }

    [TestCase("10.96.0.1", "10.96.0.1:80")]
    [TestCase("fd00:96::1", "[fd00:96::1]:80")]
    [TestCase("fd00:96::5efe:a00:1", "[fd00:96::5efe:a00:1]:80")]
    [TestCase("fd00::200:5efe:a00:1", "[fd00::200:5efe:a00:1]:80")]
    [TestCase("::ffff:0:a00:1", "[::ffff:0:a00:1]:80")]
    [TestCase("::10.0.0.1", "[::10.0.0.1]:80")]
    public void Addresses_are_written_as_the_stock_tools_print_them(string address, string text) => IPAddress.Parse(address).Text(80)
        .ShouldBe(text);

    [Test]
    public void A_pcap_file_has_the_header_and_every_packet_with_nanoseconds()
    {
        var time = DateTime.UnixEpoch.AddSeconds(5).AddTicks(3);

        var bytes = PcapWriter.ToBytes([new CapturedPacket("n", "d", IsLeaving: true, time, new byte[] { 1, 2, 3 }, WireLength: 9)]);

        Convert.ToHexString(bytes)
            .ShouldBe("4D3CB2A1020004000000000000000000000004000100000005000000" + "2C010000" + "03000000" + "09000000" + "010203");
    }
}
