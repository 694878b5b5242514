using System.Buffers.Binary;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;

namespace Conformance.Linux.Netlink;

/// <summary>Flags of a netlink header (linux/netlink.h).</summary>
[Flags]
public enum NetlinkFlags : ushort
{
    /// <summary>No flag.</summary>
    None = 0,

    /// <summary>NLM_F_REQUEST.</summary>
    Request = 0x1,

    /// <summary>NLM_F_MULTI: one message of several.</summary>
    Multi = 0x2,

    /// <summary>NLM_F_ACK: an acknowledgement is wanted.</summary>
    Ack = 0x4,

    /// <summary>NLM_F_DUMP_INTR: the dump is inconsistent.</summary>
    DumpInterrupted = 0x10,

    /// <summary>NLM_F_DUMP.</summary>
    Dump = 0x300,

    /// <summary>NLM_F_REPLACE.</summary>
    Replace = 0x100,

    /// <summary>NLM_F_EXCL.</summary>
    Exclusive = 0x200,

    /// <summary>NLM_F_CREATE.</summary>
    Create = 0x400,
}

/// <summary>
/// Builds one netlink message: header, fixed part, then attributes, which nest. All in host byte order unless a
/// method says otherwise; every attribute is padded to four bytes (netlink(7)).
/// </summary>
public sealed class NetlinkRequest
{
    internal const int HeaderLength = 16;
    private byte[] _buffer = new byte[256];
    private int _length = HeaderLength;

    /// <summary>Begins a request.</summary>
    /// <param name="type">The message type (nlmsg_type).</param>
    public NetlinkRequest(ushort type, NetlinkFlags flags = NetlinkFlags.None)
    {
        Type = type;
        Flags = flags | NetlinkFlags.Request;
    }

    /// <summary>The message type (nlmsg_type).</summary>
    public ushort Type { get; }

    /// <summary>The flags (nlmsg_flags).</summary>
    public NetlinkFlags Flags { get; }

    /// <summary>Appends the fixed part that follows the header, such as <c>struct ifinfomsg</c>.</summary>
    public NetlinkRequest Fixed<T>(T value) where T : unmanaged
    {
        var size = Marshal.SizeOf<T>();
        MemoryMarshal.Write(Reserve(size), value);
        return this;
    }

    /// <summary>Adds an attribute of raw bytes.</summary>
    public NetlinkRequest Attribute(ushort type, ReadOnlySpan<byte> value)
    {
        var total = 4 + value.Length;
        var span = Reserve(total);
        BinaryPrimitives.WriteUInt16LittleEndian(span, (ushort)total);
        BinaryPrimitives.WriteUInt16LittleEndian(span[2..], type);
        value.CopyTo(span[4..]);
        return this;
    }

    /// <summary>Adds a number of 32 bits in host byte order.</summary>
    public NetlinkRequest Attribute(ushort type, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return Attribute(type, bytes);
    }

    /// <summary>Adds a number of 16 bits in host byte order.</summary>
    public NetlinkRequest UInt16(ushort type, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, value);
        return Attribute(type, bytes);
    }

    /// <summary>Adds a number of 8 bits.</summary>
    public NetlinkRequest Attribute(ushort type, byte value) => Attribute(type, [value]);

    /// <summary>A number in network byte order, marked as such where the subsystem asks for it.</summary>
    public NetlinkRequest BigEndian(ushort type, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, value);
        return Attribute(type, bytes);
    }

    /// <inheritdoc cref="BigEndian(ushort, ushort)"/>
    public NetlinkRequest BigEndian(ushort type, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return Attribute(type, bytes);
    }

    /// <summary>A zero-terminated string.</summary>
    public NetlinkRequest Attribute(ushort type, string value) => Attribute(type, [.. Encoding.ASCII.GetBytes(value), 0]);

    /// <summary>An address, 4 or 16 bytes in network byte order.</summary>
    public NetlinkRequest Attribute(ushort type, IPAddress value) => Attribute(type, value.GetAddressBytes());

    /// <summary>Adds a nest of attributes.</summary>
    public NetlinkRequest Nest(ushort type, Action<NetlinkRequest> inner)
    {
        var start = _length;
        _ = Reserve(4);
        inner(this);
        BinaryPrimitives.WriteUInt16LittleEndian(_buffer.AsSpan(start), (ushort)(_length - start));
        BinaryPrimitives.WriteUInt16LittleEndian(_buffer.AsSpan(start + 2), type);
        return this;
    }

    internal ReadOnlySpan<byte> Finish(uint sequence, NetlinkFlags extraFlags)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_buffer, (uint)_length);
        BinaryPrimitives.WriteUInt16LittleEndian(_buffer.AsSpan(4), Type);
        BinaryPrimitives.WriteUInt16LittleEndian(_buffer.AsSpan(6), (ushort)(Flags | extraFlags));
        BinaryPrimitives.WriteUInt32LittleEndian(_buffer.AsSpan(8), sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(_buffer.AsSpan(12), 0);
        return _buffer.AsSpan(0, _length);
    }

    private Span<byte> Reserve(int size)
    {
        var padded = (size + 3) & ~3;
        if (_length + padded > _buffer.Length)
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + padded));
        var span = _buffer.AsSpan(_length, padded);
        span.Clear();
        _length += padded;
        return span;
    }
}
