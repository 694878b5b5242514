using System.Globalization;
using System.Net;

namespace Conformance.Linux;

/// <summary>
/// Addresses and ports as <c>/proc/net/ip_vs*</c> prints them: IPv4 in hexadecimal, IPv6 in brackets, ports in hexadecimal.
/// </summary>
internal static class HexAddress
{
    internal static IPAddress Address(ReadOnlySpan<char> text)
    {
        if (text.StartsWith("[") && text.EndsWith("]"))
            return IPAddress.Parse(text[1..^1]);
        if (text.Contains(':'))
            return IPAddress.Parse(text);
        var value = uint.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return new IPAddress([(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value]);
    }

    internal static int Port(ReadOnlySpan<char> text) => int.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    internal static IPEndPoint EndPoint(ReadOnlySpan<char> text)
    {
        var colon = text.LastIndexOf(':');
        return new IPEndPoint(Address(text[..colon]), Port(text[(colon + 1)..]));
    }

    internal static string[] Words(string line) => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
}
