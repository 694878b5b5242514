using System.Globalization;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Ipvs;

/// <summary>IPVS totals of a namespace, from the first block of <c>/proc/net/ip_vs_stats</c>. Incoming is client to real server.</summary>
/// <remarks>The kernel brings these totals up to date every two seconds (ip_vs_est.c): wait for what you expect.</remarks>
public sealed record IpvsStats(long Connections, long PacketsIn, long PacketsOut, long BytesIn, long BytesOut)
{
    /// <summary>Reads the totals of a namespace.</summary>
    public static IpvsStats Read(NetworkNamespace ns) => Parse(ns.Run(() => File.ReadAllText("/proc/thread-self/net/ip_vs_stats")));

    /// <summary>Parses the text of <c>/proc/net/ip_vs_stats</c>.</summary>
    /// <exception cref="FormatException">The text has no line of totals.</exception>
    public static IpvsStats Parse(string text)
    {
        var line = text.Split('\n').FirstOrDefault(l => HexAddress.Words(l) is { Length: 5 } words && words.All(IsHex))
            ?? throw new FormatException($"No line of totals in ip_vs_stats:\n{text}");
        var n = HexAddress.Words(line).Select(w => long.Parse(w, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToArray();
        return new IpvsStats(n[0], n[1], n[2], n[3], n[4]);
    }

    private static bool IsHex(string word) => word.All(char.IsAsciiHexDigit);
}
