using System.Buffers.Binary;

namespace Conformance.Packets;

/// <summary>
/// Writes packets in the pcap format with nanoseconds, which tcpdump and Wireshark read (pcap-savefile(5)); the link
/// type is Ethernet. Checksums that veth leaves to hardware that does not exist are as captured.
/// </summary>
public sealed class PcapWriter : IDisposable
{
    private readonly Stream _stream;

    /// <summary>Writes the file header.</summary>
    public PcapWriter(Stream stream)
    {
        _stream = stream;
        Span<byte> header = stackalloc byte[24];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0xa1b23c4d);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], 2);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], 4);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], 262144);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], 1);
        _stream.Write(header);
    }

    /// <summary>A whole file in memory.</summary>
    public static byte[] ToBytes(IEnumerable<CapturedPacket> packets)
    {
        using var memory = new MemoryStream();
        using (var writer = new PcapWriter(memory))
        {
            foreach (var packet in packets)
                writer.Write(packet);
        }
        return memory.ToArray();
    }

    /// <summary>Writes one packet.</summary>
    public void Write(CapturedPacket packet)
    {
        var sinceEpoch = packet.Time - DateTime.UnixEpoch;
        Span<byte> header = stackalloc byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)sinceEpoch.TotalSeconds);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], (uint)(sinceEpoch.Ticks % TimeSpan.TicksPerSecond * 100));
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], (uint)packet.Bytes.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], (uint)packet.WireLength);
        _stream.Write(header);
        _stream.Write(packet.Bytes.Span);
    }

    /// <summary>Passes everything on to the stream's reader.</summary>
    public void Flush() => _stream.Flush();

    /// <inheritdoc/>
    public void Dispose() => Flush();
}
