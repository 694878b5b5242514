using System.Net;
using System.Net.NetworkInformation;
using Conformance.Generator.Sources;
using Conformance.Generator.Verbs;
using Conformance.Launcher.LabKernels;
using Conformance.Packets;
using FsCheck;
using FsCheck.Fluent;
using PacketDotNet;
using PacketDotNet.Utils;
using Packet = Conformance.Packets.Packet;
using TcpFlags = Conformance.Packets.TcpFlags;

namespace Conformance.Tests;

/// <summary>Our parser of frames against PacketDotNet, which builds them.</summary>
public sealed class PacketTests
{
    private const int Frames = 500;

    private sealed record Frame(bool IsIPv6, int Transport, byte[] Addresses, ushort SourcePort, ushort DestinationPort, uint Sequence,
        uint Acknowledgement, byte Flags, byte TimeToLive, byte[] Payload)
    {
        internal IPAddress From => new(Addresses[..(IsIPv6 ? 16 : 4)]);

        internal IPAddress To => new(Addresses[16..(IsIPv6 ? 32 : 20)]);
    }

    [Test]
    public void Random_frames_are_read_as_they_were_built()
    {
        var frames =
            from isIPv6 in ArbMap.Default.GeneratorFor<bool>()
            from transport in Gen.Choose(0, 2)
            from addresses in Gen.ArrayOf(Gen.Choose(1, 254).Select(b => (byte)b), 32)
            from ports in Gen.Two(Gen.Choose(1, 65535))
            from numbers in Gen.Two(ArbMap.Default.GeneratorFor<uint>())
            from flags in Gen.Choose(0, 63)
            from timeToLive in Gen.Choose(1, 255)
            from length in Gen.Choose(0, 600)
            from payload in Gen.ArrayOf(ArbMap.Default.GeneratorFor<byte>(), length)
            select new Frame(isIPv6, transport, addresses, (ushort)ports.Item1, (ushort)ports.Item2, numbers.Item1, numbers.Item2,
                (byte)flags, (byte)timeToLive, payload);
        Prop.ForAll(frames.ToArbitrary(), IsReadRight).Check(Config.QuickThrowOnFailure.WithMaxTest(Frames));
    }

    [Test]
    public void A_frame_that_is_cut_off_anywhere_is_read_as_far_as_it_goes([Values] bool isIPv6)
    {
        var whole = BytesOf(new Frame(isIPv6, 0, [.. Enumerable.Range(1, 32).Select(i => (byte)i)], 1000, 2000, 3, 4, 2, 64, new byte[20]));

        for (var length = 0; length <= whole.Length; length++)
            Should.NotThrow(() => Packet.Parse(whole.AsMemory(0, length)).ToString());
    }

    [Test]
    public void Messages_of_arp_are_read_as_they_were_built([Values] bool isRequest)
    {
        var ethernet = new EthernetPacket(PhysicalAddress.Parse("020000000001"), PhysicalAddress.Parse("FFFFFFFFFFFF"), EthernetType.Arp)
        {
            PayloadPacket = new ArpPacket(isRequest ? ArpOperation.Request : ArpOperation.Response, PhysicalAddress.Parse("020000000002"),
                IPAddress.Parse("192.0.2.2"), PhysicalAddress.Parse("020000000001"), IPAddress.Parse("192.0.2.1")),
        };

        var arp = Packet.Parse(ethernet.Bytes).Arp!;

        (arp.IsRequest, arp.SenderMac.ToString(), arp.Sender.ToString(), arp.Target.ToString())
            .ShouldBe((isRequest, "020000000001", "192.0.2.1", "192.0.2.2"));
    }

    [TestCase("4", ProtocolType.IPv4)]
    [TestCase("47 0000 0800", ProtocolType.Gre)]
    [TestCase("47 8000 0800 0000 0000", ProtocolType.Gre)]
    [TestCase("47 2000 0800 0000 0007", ProtocolType.Gre)]
    [TestCase("17 17c0 17c0 0000 0000 0004 0000", ProtocolType.Udp)]
    [TestCase("17 17c0 17c0 0000 0000 0104 0000 0000 0000", ProtocolType.Udp)]
    public void Packets_in_tunnels_are_read_as_they_were_built(string header, ProtocolType protocol)
    {
        var inner = BytesOf(new Frame(false, 0, [.. Enumerable.Range(1, 32).Select(i => (byte)i)], 1000, 2000, 3, 4, 2, 64, new byte[20]));
        var ethernet = new EthernetPacket(PhysicalAddress.Parse("020000000001"), PhysicalAddress.Parse("020000000002"), EthernetType.IPv4);
        var before = Convert.FromHexString(string.Concat(header.Split(' ')[1..]));
        ethernet.PayloadPacket = new IPv4Packet(IPAddress.Parse("192.0.2.1"), IPAddress.Parse("192.0.2.2"))
        {
            Protocol = protocol,
            PayloadData = [.. before, .. inner[14..]],
        };

        var packet = Packet.Parse(ethernet.Bytes);

        packet.SourceAddress!.ToString().ShouldBe("192.0.2.1");
        packet.Inner!.TransportIdentity.ShouldBe(Packet.Parse(inner).TransportIdentity);
        packet.Inner.Destination.ShouldBe(Packet.Parse(inner).Destination);
        packet.TransportIdentity.ShouldBe(packet.Inner.TransportIdentity);
    }

    [Test]
    public void Fragments_are_read_as_they_were_built([Values(0, 1480)] int offset)
    {
        var whole = BytesOf(new Frame(false, 1, [.. Enumerable.Range(1, 32).Select(i => (byte)i)], 1000, 2000, 3, 4, 2, 64, new byte[20]));
        whole[20] = (byte)((offset / 8 >> 8) | (offset == 0 ? 0x20 : 0));
        whole[21] = (byte)(offset / 8);

        var packet = Packet.Parse(whole);

        (packet.IsFragment, packet.FragmentOffset, packet.HasMoreFragments, packet.SourcePort)
            .ShouldBe((true, offset, offset == 0, offset == 0 ? 1000 : 0));
        packet.Length.ShouldBe(whole.Length - 14);
    }

    private static bool IsReadRight(Frame frame)
    {
        var packet = Packet.Parse(BytesOf(frame));
        (packet.SourceAddress, packet.DestinationAddress, packet.TimeToLive).ShouldBe((frame.From, frame.To, frame.TimeToLive));
        (packet.SourceMac!.ToString(), packet.DestinationMac!.ToString()).ShouldBe(("020000000001", "020000000002"));
        if (frame.Transport == 2)
        {
            (packet.Icmp!.Type, packet.Icmp.Code).ShouldBe(frame.IsIPv6 ? ((byte)128, (byte)0) : ((byte)8, (byte)0));
            return true;
        }
        (packet.SourcePort, packet.DestinationPort, packet.Payload.ToArray()).ShouldSatisfyAllConditions(
            p => p.SourcePort.ShouldBe(frame.SourcePort), p => p.DestinationPort.ShouldBe(frame.DestinationPort), p =>
                p.Item3.ShouldBe(frame.Payload));
        if (frame.Transport == 0)
            (packet.Tcp!.Sequence, packet.Tcp.Acknowledgement, packet.Tcp.Flags, packet.Tcp.PayloadLength)
                .ShouldBe((frame.Sequence, frame.Acknowledgement, (TcpFlags)frame.Flags, frame.Payload.Length));
        else
            packet.IsUdp.ShouldBeTrue();
        return true;
    }

    private static byte[] BytesOf(Frame frame)
    {
        var ethernet = new EthernetPacket(PhysicalAddress.Parse("020000000001"), PhysicalAddress.Parse("020000000002"), frame.IsIPv6
            ? EthernetType.IPv6 : EthernetType.IPv4);
        IPPacket ip = frame.IsIPv6 ? new IPv6Packet(frame.From, frame.To) : new IPv4Packet(frame.From, frame.To);
        ip.TimeToLive = frame.TimeToLive;
        ip.PayloadPacket = frame.Transport switch
        {
            0 => new TcpPacket(frame.SourcePort, frame.DestinationPort)
            {
                SequenceNumber = frame.Sequence,
                AcknowledgmentNumber = frame.Acknowledgement,
                Flags = frame.Flags,
                PayloadData = frame.Payload
            },
            1 => new UdpPacket(frame.SourcePort, frame.DestinationPort) { PayloadData = frame.Payload },
            _ when frame.IsIPv6 => new IcmpV6Packet(new ByteArraySegment(new byte[8])) { Type = IcmpV6Type.EchoRequest },
            _ => new IcmpV4Packet(new ByteArraySegment(new byte[8])) { TypeCode = IcmpV4TypeCode.EchoRequest },
        };
        ip.Protocol = frame.Transport switch
        {
            0 => ProtocolType.Tcp,
            1 => ProtocolType.Udp,
            _ => frame.IsIPv6 ? ProtocolType.IcmpV6
            : ProtocolType.Icmp
        };
        ethernet.PayloadPacket = ip;
        return ethernet.Bytes;
    }
}
