using System.Buffers;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Sockets;

namespace Conformance.Packets;

/// <summary>One packet on one interface of one node. Time is the kernel's, when the packet passed the interface.</summary>
/// <param name="Bytes">The frame as captured, possibly cut.</param>
/// <param name="WireLength">The frame's real length in bytes.</param>
public sealed record CapturedPacket(string Node, string Device, bool IsLeaving, DateTime Time, ReadOnlyMemory<byte> Bytes, int WireLength)
{
    private Packet? _parsed;
    private PacketMarks? _marks;

    /// <summary>The parsed frame.</summary>
    public Packet Packet
    {
        get
        {
            if (_parsed is { } parsed)
                return parsed;
            parsed = Packet.Parse(Bytes);
            if (Parsed is not null)
            {
                _parsed = parsed;
                Parsed.Add(this);
            }
            return parsed;
        }
    }

    /// <summary>Hash codes for a fast search; they stay when the parsed frame is dropped.</summary>
    public PacketMarks Marks => _marks ??= PacketMarks.Of(Packet);

    /// <summary>Who says how long the parsed frame is kept; null where it is parsed at each call.</summary>
    internal ParsedPackets? Parsed { get; set; }

    internal void ForgetParsed() => _parsed = null;

    /// <inheritdoc/>
    public override string ToString() => $"{Node}:{Device} {(IsLeaving ? "out" : "in ")} {Packet}";
}

/// <summary>
/// Captures one interface. The packets wait in the kernel's buffer until they are drained, so capturing runs no
/// thread and wakes nobody; it adds no rule and does not switch connection tracking on.
/// </summary>
public sealed class Capture(string node, NetworkNamespace ns, string device) : IDisposable
{
    /// <summary>How many bytes of a frame are kept.</summary>
    public const int SnapLength = 2048;

    private const int FramesAtOnce = 32;
    private const int BufferBytes = 32 * 1024 * 1024;
    private readonly PacketSocket _socket = new(ns, device, BufferBytes);
    private long _dropped;

    /// <summary>The name of the node.</summary>
    public string Node { get; } = node;

    /// <summary>The name of the interface.</summary>
    public string Device { get; } = device;

    /// <summary>Packets that the kernel dropped because the buffer was full.</summary>
    public long Dropped => Interlocked.Add(ref _dropped, _socket.TakeDropped());

    /// <summary>Those of some captures that have packets to drain.</summary>
    public static IEnumerable<Capture> Filled(IReadOnlyList<Capture> captures) =>
        PacketSocket.Readable([.. captures.Select(c => c._socket)]).Select(i => captures[i]);

    /// <summary>Takes all packets that have arrived since the last call.</summary>
    public IReadOnlyList<CapturedPacket> Drain()
    {
        var packets = new List<CapturedPacket>();
        Span<ReceivedFrame> frames = stackalloc ReceivedFrame[FramesAtOnce];
        var buffer = ArrayPool<byte>.Shared.Rent(FramesAtOnce * SnapLength);
        int count;
        do
        {
            count = _socket.Receive(buffer.AsSpan(0, FramesAtOnce * SnapLength), frames);
            for (var i = 0; i < count; i++)
                packets.Add(new CapturedPacket(Node, Device, frames[i].IsLeaving, frames[i].Time,
                    buffer.AsSpan(i * SnapLength, frames[i].CapturedLength).ToArray(), frames[i].WireLength));
        } while (count == FramesAtOnce);
        ArrayPool<byte>.Shared.Return(buffer);
        return packets;
    }

    /// <summary>Waits until something has arrived.</summary>
    /// <returns>False when nothing came within the time.</returns>
    public bool Wait(TimeSpan timeout) => _socket.Wait(timeout);

    /// <inheritdoc/>
    public void Dispose()
    {
        _ = Dropped; // the kernel tells it only as long as the socket is open
        _socket.Dispose();
    }
}
