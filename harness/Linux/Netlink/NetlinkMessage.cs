using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Conformance.Linux.Netlink;

/// <summary>One message that the kernel sent.</summary>
public sealed record NetlinkMessage(ushort Type, NetlinkFlags Flags, uint Sequence, ReadOnlyMemory<byte> Payload)
{
    /// <summary>The fixed part at the head of the payload.</summary>
    public T Fixed<T>() where T : unmanaged => MemoryMarshal.Read<T>(Payload.Span);

    /// <summary>The attributes behind a fixed part of the given length; none where the message ends before.</summary>
    public NetlinkAttributes Attributes(int fixedLength) => new(Payload[Math.Min((fixedLength + 3) & ~3, Payload.Length)..]);
}

/// <summary>The attributes of a message or of a nest. An attribute that occurs twice is found by its first occurrence.</summary>
public readonly struct NetlinkAttributes(ReadOnlyMemory<byte> bytes)
{
    private const int EPROTO = 71;
    private const ushort TypeMask = 0x3fff; // without NLA_F_NESTED and NLA_F_NET_BYTEORDER

    /// <summary>All attributes in order, without the flag bits of their types.</summary>
    public IEnumerable<(ushort Type, ReadOnlyMemory<byte> Value)> All()
    {
        var rest = bytes;
        while (rest.Length >= 4)
        {
            var length = BinaryPrimitives.ReadUInt16LittleEndian(rest.Span);
            if (length < 4 || length > rest.Length)
                yield break;
            yield return ((ushort)(BinaryPrimitives.ReadUInt16LittleEndian(rest.Span[2..]) & TypeMask), rest[4..length]);
            rest = rest[Math.Min((length + 3) & ~3, rest.Length)..];
        }
    }

    /// <summary>The value of the first attribute of a type; null when there is none.</summary>
    public ReadOnlyMemory<byte>? Find(ushort type)
    {
        // Without the iterator of All(): lists of ten thousand objects are read by this.
        var rest = bytes;
        while (rest.Length >= 4)
        {
            var length = BinaryPrimitives.ReadUInt16LittleEndian(rest.Span);
            if (length < 4 || length > rest.Length)
                return null;
            if ((BinaryPrimitives.ReadUInt16LittleEndian(rest.Span[2..]) & TypeMask) == type)
                return rest[4..length];
            rest = rest[Math.Min((length + 3) & ~3, rest.Length)..];
        }
        return null;
    }

    /// <summary>The value of the first attribute of a type, which an answer of the kernel always has.</summary>
    /// <param name="length">The least length of the value in bytes.</param>
    /// <exception cref="KernelException">There is none, or it is shorter: this kernel answers otherwise (EPROTO).</exception>
    public ReadOnlySpan<byte> Required(ushort type, int length) => Find(type) is { } value && value.Length >= length ? value.Span
        : throw Unknown($"no attribute {type} of at least {length} bytes");

    /// <summary>What is said of an answer that is none of those that we know.</summary>
    internal static KernelException Unknown(string what) => new("read the kernel's answer", EPROTO, what);

    /// <summary>The attributes inside a nest; empty when the nest is absent.</summary>
    public NetlinkAttributes Nest(ushort type) => new(Find(type) ?? ReadOnlyMemory<byte>.Empty);

    /// <summary>A number of 32 bits in host byte order; null when there is none.</summary>
    public uint? UInt32(ushort type) => Find(type) is { Length: >= 4 } value ? BinaryPrimitives.ReadUInt32LittleEndian(value.Span) : null;

    /// <summary>A number of 32 bits in network byte order; null when there is none.</summary>
    public uint? UInt32BigEndian(ushort type) => Find(type) is { Length: >= 4 } value ? BinaryPrimitives.ReadUInt32BigEndian(value.Span)
        : null;

    /// <summary>A number of 16 bits in network byte order; null when there is none.</summary>
    public ushort? UInt16BigEndian(ushort type) => Find(type) is { Length: >= 2 } value ? BinaryPrimitives.ReadUInt16BigEndian(value.Span)
        : null;

    /// <summary>A number of 8 bits; null when there is none.</summary>
    public byte? Byte(ushort type) => Find(type) is { Length: >= 1 } value ? value.Span[0] : null;

    /// <summary>A text that may end with a zero byte; null when there is none.</summary>
    public string? Text(ushort type) => Find(type) is { } value ? Encoding.UTF8.GetString(value.Span).TrimEnd('\0') : null;

    /// <summary>An address of 4 or 16 bytes; null when there is none.</summary>
    public System.Net.IPAddress? Address(ushort type) =>
        Find(type) is { Length: 4 or 16 } value ? new System.Net.IPAddress(value.Span) : null;
}
