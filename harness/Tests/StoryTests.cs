using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Traffic.Stories;

namespace Conformance.Tests;

/// <summary>Which packets belong to a flow.</summary>
public sealed class StoryTests
{
    private static readonly IPEndPoint s_client = new(IPAddress.Parse("192.168.113.50"), 20028);
    private static readonly IPEndPoint s_other = new(IPAddress.Parse("10.96.0.9"), 53);
    private static readonly IPEndPoint s_server = new(IPAddress.Parse("10.96.0.7"), 80);
    private static readonly IPEndPoint s_real = new(IPAddress.Parse("172.16.0.99"), 8080);

    [TestCase(TransportProtocol.Tcp)]
    [TestCase(TransportProtocol.Udp)]
    public void Another_flow_from_the_same_port_of_another_protocol_is_left_out(TransportProtocol protocol)
    {
        var packets = new[]
        {
            Captured(TransportProtocol.Tcp, s_client, s_server, isLeaving: true),
                Captured(TransportProtocol.Udp, s_client, s_other, isLeaving: true),
            Captured(TransportProtocol.Udp, s_other, s_client, isLeaving: false),
                Captured(TransportProtocol.Tcp, s_server, s_client, isLeaving: false),
        };

        var story = Story.Of(packets, "client", protocol, s_client, seenAs: null, DateTime.MinValue, DateTime.MaxValue);

        story.Steps.Select(s => s.Packet.Protocol).ShouldBe([(int)protocol, (int)protocol]);
    }

    [Test]
    public void An_error_about_a_packet_of_the_flow_belongs_to_it()
    {
        var asked = Udp(s_client, s_server);
        var packets = new[]
        {
            Frame("client", asked, isLeaving: true),
            Frame("director", Udp(s_client, s_real), isLeaving: true), // the same payload: the director rewrote the destination
            Frame("director", Icmp(s_real, s_client, about: Udp(s_client, s_real)), isLeaving: false),
            Frame("client", Icmp(s_server, s_client, about: asked), isLeaving: false),
            Frame("client", Icmp(s_other, s_client, about: Udp(s_client, s_other)), isLeaving: false), // about another flow
        };

        StoryOf(packets).Steps.Select(s => s.Captured).ShouldBe(packets[..4]);
    }

    [Test]
    public void A_tunnel_packet_that_holds_a_packet_of_the_flow_belongs_to_it()
    {
        var asked = Udp(s_client, s_server);
        var packets = new[]
        {
            Frame("client", asked, isLeaving: true),
            Frame("director", asked, isLeaving: false),
            Frame("director", Tunnel(s_server, s_real, asked), isLeaving: true),
            Frame("director", Tunnel(s_server, s_real, Icmp(s_client, s_server, about: Udp(s_server, s_client))), isLeaving: true),
            Frame("director", Icmp(s_real, s_server, about: Tunnel(s_server, s_real, asked)), isLeaving: false),
            // of another flow
            Frame("director", Tunnel(s_server, s_real, Udp(s_other, s_server, payload: 2)), isLeaving: true),
            Frame("director", Icmp(s_real, s_server, about: Tunnel(s_server, s_real, Udp(s_other, s_server, payload: 2))),
                isLeaving: false),
        };

        var steps = StoryOf(packets).Steps;

        steps.Select(s => s.Captured).ShouldBe(packets[..5]);
        steps[2].Rewrite.ShouldBe($"the packet into a tunnel packet {s_server.Address} > {s_real.Address}");
    }

    [Test]
    public void Every_packet_to_the_client_socket_belongs_to_the_flow()
    {
        var packets = new[]
        {
            Frame("client", Udp(s_client, s_server), isLeaving: true),
            Frame("client", Udp(s_real, s_client, payload: 2), isLeaving: false), // nobody rewrote the source back
            Frame("client", Udp(s_real, s_other, payload: 3), isLeaving: false),
        };

        StoryOf(packets).Steps.Select(s => s.Captured).ShouldBe(packets[..2]);
    }

    [Test]
    public void A_client_that_its_node_masquerades_is_found_by_the_address_at_the_server()
    {
        var seenAs = new IPEndPoint(s_other.Address, 40_000);
        var packets = new[]
        {
            Frame("client", Udp(seenAs, s_server), isLeaving: true),
            Frame("client", Udp(s_server, seenAs, payload: 2), isLeaving: false),
            Frame("client", Udp(s_other, s_server, payload: 3), isLeaving: true),
        };

        StoryOf(packets).Steps.ShouldBeEmpty();
        StoryOf(packets, seenAs).Steps.Select(s => s.Captured).ShouldBe(packets[..2]);
    }

    private static Story StoryOf(CapturedPacket[] packets, IPEndPoint? seenAs = null) =>
        Story.Of(packets, "client", TransportProtocol.Udp, s_client, seenAs, DateTime.MinValue, DateTime.MaxValue);

    private static byte[] Udp(IPEndPoint from, IPEndPoint to, byte payload = 1)
    {
        var datagram = new byte[12];
        BinaryPrimitives.WriteUInt16BigEndian(datagram, (ushort)from.Port);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(2), (ushort)to.Port);
        datagram[5] = (byte)datagram.Length;
        datagram[8] = payload;
        return Ip(from, to, (byte)ProtocolType.Udp, datagram);
    }

    /// <summary>Port unreachable.</summary>
    private static byte[] Icmp(IPEndPoint from, IPEndPoint to, byte[] about) =>
        Ip(from, to, (byte)ProtocolType.Icmp, [3, 3, 0, 0, 0, 0, 0, 0, .. about]);

    private static byte[] Tunnel(IPEndPoint from, IPEndPoint to, byte[] inner) => Ip(from, to, (byte)ProtocolType.IPv4, inner);

    private static byte[] Ip(IPEndPoint from, IPEndPoint to, byte protocol, byte[] payload)
    {
        byte[] packet = [0x45, 0, 0, (byte)(20 + payload.Length), 0, 0, 0, 0, 64, protocol, 0, 0, .. from.Address.GetAddressBytes(),
            .. to.Address.GetAddressBytes(), .. payload];
        return packet;
    }

    private static CapturedPacket Frame(string node, byte[] packet, bool isLeaving)
    {
        byte[] frame = [.. new byte[12], 0x08, 0x00, .. packet];
        return new CapturedPacket(node, "eth0", isLeaving, DateTime.UtcNow, frame, frame.Length);
    }

    private static CapturedPacket Captured(TransportProtocol protocol, IPEndPoint from, IPEndPoint to, bool isLeaving)
    {
        var frame = new byte[14 + 20 + 20];
        frame[12] = 0x08; // IPv4
        var ip = frame.AsSpan(14);
        ip[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], 40);
        ip[9] = (byte)protocol;
        from.Address.TryWriteBytes(ip[12..], out _);
        to.Address.TryWriteBytes(ip[16..], out _);
        BinaryPrimitives.WriteUInt16BigEndian(ip[20..], (ushort)from.Port);
        BinaryPrimitives.WriteUInt16BigEndian(ip[22..], (ushort)to.Port);
        if (protocol == TransportProtocol.Tcp)
            (ip[32], ip[33]) = (0x50, (byte)(isLeaving ? TcpFlags.Syn : TcpFlags.Rst));
        return new CapturedPacket("client", "eth0", isLeaving, DateTime.UtcNow, frame, frame.Length);
    }
}
