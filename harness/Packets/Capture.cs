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

    /// <summary>What tells most other packets from this one without its parsed frame.</summary>
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

    private const int BufferBytes = 32 * 1024 * 1024;
    private readonly PacketSocket _socket = new(ns, device, BufferBytes);

    /// <summary>The name of the node.</summary>
    public string Node { get; } = node;

    /// <summary>The name of the interface.</summary>
    public string Device { get; } = device;

    /// <summary>Packets that the kernel dropped because the buffer was full.</summary>
    public long Dropped { get; private set; }

    /// <summary>Takes all packets that have arrived since the last call.</summary>
    /// <param name="buffer">Room for a frame of <see cref="SnapLength"/> bytes.</param>
    public IReadOnlyList<CapturedPacket> Drain(byte[] buffer)
    {
        var packets = new List<CapturedPacket>();
        while (_socket.TryReceive(buffer, out var frame))
            packets.Add(new CapturedPacket(Node, Device, frame.IsLeaving, frame.Time, buffer.AsMemory(0, frame.CapturedLength).ToArray(),
                frame.WireLength));
        Dropped += _socket.TakeDropped();
        return packets;
    }

    /// <summary>Waits until something has arrived.</summary>
    /// <returns>False when nothing came within the time.</returns>
    public bool Wait(TimeSpan timeout) => _socket.Wait(timeout);

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();
}
