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
