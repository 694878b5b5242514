using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Conformance.Linux;

/// <summary>
/// Addresses as the stock tools print them (inet_ntop(3)). .NET writes IPv6 addresses that embed an IPv4 address in ISATAP's
/// or SIIT's way with dots at their end; inet_ntop does not, and what is compared as text would differ.
/// </summary>
public static class AddressText
{
    /// <summary>The address as inet_ntop(3) prints it.</summary>
    public static string Text(this IPAddress address)
    {
        var text = address.ToString();
        var dot = text.IndexOf('.', StringComparison.Ordinal);
        if (address.AddressFamily != AddressFamily.InterNetworkV6 || dot < 0 || IsWrittenWithDots(address))
            return text;
        var bytes = address.GetAddressBytes();
        return text[..(text.LastIndexOf(':') + 1)] + string.Create(CultureInfo.InvariantCulture,
            $"{(bytes[12] << 8) | bytes[13]:x}:{(bytes[14] << 8) | bytes[15]:x}");
    }

    /// <summary>Address and port, an IPv6 address in brackets.</summary>
    public static string Text(this IPAddress address, int port) =>
        string.Create(CultureInfo.InvariantCulture,
            $"{(address.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{address.Text()}]" : address.Text())}:{port}");

    /// <summary>::a.b.c.d and ::ffff:a.b.c.d.</summary>
    private static bool IsWrittenWithDots(IPAddress address) => address.IsIPv4MappedToIPv6 || address.GetAddressBytes().AsSpan(0, 12)
        .IndexOfAnyExcept((byte)0) < 0;
}
