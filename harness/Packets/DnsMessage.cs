using System.Buffers.Binary;
using System.Text;

namespace Conformance.Packets;

/// <summary>What a DNS message over UDP asks, and how it was answered (RFC 1035, 4.1).</summary>
/// <param name="Type">1 for A, 28 for AAAA.</param>
/// <param name="ResponseCode">0 for no error, 3 for a name that does not exist; of a question 0.</param>
public sealed record DnsMessage(string Name, ushort Type, bool IsResponse, int ResponseCode, int Answers)
{
    private const int HeaderLength = 12;

    /// <returns>Null for what is no DNS message with a question.</returns>
    public static DnsMessage? Parse(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < HeaderLength || BinaryPrimitives.ReadUInt16BigEndian(payload[4..]) == 0)
            return null;
        var labels = new List<string>();
        var at = HeaderLength;
        while (at < payload.Length && payload[at] is > 0 and var length)
        {
            if (at + 1 + length > payload.Length)
                return null;
            labels.Add(Encoding.ASCII.GetString(payload.Slice(at + 1, length)));
            at += 1 + length;
        }
        return at + 3 > payload.Length ? null : new DnsMessage(
            string.Join('.', labels), BinaryPrimitives.ReadUInt16BigEndian(payload[(at + 1)..]), (payload[2] & 0x80) != 0,
                payload[3] & 0xf, BinaryPrimitives.ReadUInt16BigEndian(payload[6..]));
    }
}
