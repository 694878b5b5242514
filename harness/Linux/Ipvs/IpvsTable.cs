using System.Globalization;
using System.Net;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Ipvs;

/// <summary>An entry of the table: a virtual server with its real servers.</summary>
public sealed record VirtualServerEntry(VirtualServer Server, IReadOnlyList<RealServer> RealServers)
{
    /// <summary>Address and port; null for a virtual server by firewall mark.</summary>
    public IPEndPoint? EndPoint => Server.Key is { } key ? new IPEndPoint(key.Address, key.Port) : null;

    /// <summary>The protocol; <see cref="TransportProtocol.None"/> for a virtual server by firewall mark.</summary>
    public TransportProtocol Protocol => Server.Key?.Protocol ?? TransportProtocol.None;

    /// <inheritdoc/>
    public override string ToString() => string.Join('\n', [Server.ToString(), .. RealServers]);
}

/// <summary>The table of virtual servers, from <c>/proc/net/ip_vs</c> (net/netfilter/ipvs/ip_vs_ctl.c).</summary>
public sealed record IpvsTable(string Header, IReadOnlyList<VirtualServerEntry> VirtualServers)
{
    private const string File = "/proc/thread-self/net/ip_vs";

    /// <summary>
    /// Reads the table of a namespace; null where the kernel has no IPVS (or has not loaded it). The file is made a page at
    /// a time, and the kernel finds its place again by a count over the servers of all namespaces (ip_vs_info_seq_next):
    /// where another namespace has servers too, some come twice and some not at all. What is missing is asked for singly.
    /// </summary>
    public static IpvsTable? Read(NetworkNamespace ns)
    {
        if (!ns.Run(() => System.IO.File.Exists(File)))
            return null;
        using var socket = new IpvsSocket(ns);
        return Read(ns, socket, socket.Services());
    }

    /// <summary>The same for one who has the list of virtual servers already.</summary>
    /// <param name="services">All virtual servers of the namespace.</param>
    public static IpvsTable Read(NetworkNamespace ns, IpvsSocket socket, IEnumerable<VirtualServer> services)
    {
        var table = Parse(ns.Run(() => System.IO.File.ReadAllText(File)));
        var listed = table.VirtualServers.DistinctBy(s => (s.Server.Key, s.Server.FirewallMark))
            .ToDictionary(s => (s.Server.Key, s.Server.FirewallMark), s => s.RealServers);
        var servers = new List<VirtualServerEntry>();
        foreach (var service in services)
        {
            if (listed.TryGetValue((service.Key, service.FirewallMark), out var realServers))
                servers.Add(new VirtualServerEntry(service, realServers));
            else if (service.Key is { } key)
                servers.Add(new VirtualServerEntry(service, [.. socket.Destinations(key)]));
        }
        return table with { VirtualServers = servers };
    }

    /// <summary>
    /// Reads the table as the kernel prints it but for the counts of connections: the same as long as nobody changes a server.
    /// (What Read has to ask for singly is not in it.) It is megabytes long, and never whole in memory.
    /// </summary>
    /// <param name="take">Called with each line.</param>
    public static void ReadImage(NetworkNamespace ns, Action<ReadOnlySpan<byte>> take) => ns.Run(() =>
    {
        if (!System.IO.File.Exists(File))
            return;
        using var file = System.IO.File.OpenHandle(File);
        var buffer = new byte[64 * 1024];
        var (kept, position) = (0, 0L);
        while (RandomAccess.Read(file, buffer.AsSpan(kept), position) is > 0 and var count)
        {
            position += count;
            var rest = buffer.AsSpan(0, kept + count);
            while (rest.IndexOf((byte)'\n') is >= 0 and var end)
            {
                take(WithoutCounts(rest[..end]));
                take("\n"u8);
                rest = rest[(end + 1)..];
            }
            rest.CopyTo(buffer);
            kept = rest.Length;
        }
    });

    private static ReadOnlySpan<byte> WithoutCounts(ReadOnlySpan<byte> line)
    {
        line = line.TrimEnd((byte)' ');
        return line.StartsWith("  ->"u8) ? WithoutLastWord(WithoutLastWord(line)) : line;

        static ReadOnlySpan<byte> WithoutLastWord(ReadOnlySpan<byte> words) =>
            words[..(words.LastIndexOf((byte)' ') + 1)].TrimEnd((byte)' ');
    }

    /// <summary>Parses the text of <c>/proc/net/ip_vs</c>.</summary>
    /// <exception cref="FormatException">A line is none of the table.</exception>
    public static IpvsTable Parse(string text)
    {
        string? header = null;
        var servers = new List<VirtualServerEntry>();
        var realServers = new List<RealServer>();
        Span<Range> words = stackalloc Range[8];
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            var count = line.Split(words, ' ', StringSplitOptions.RemoveEmptyEntries);
            if (header is null || count == 0)
            {
                header ??= line.ToString();
                continue;
            }
            var first = line[words[0]];
            if (first.SequenceEqual("Prot") || (count > 1 && line[words[1]].StartsWith("RemoteAddress")))
                continue;
            if (first.SequenceEqual("->") && count == 6)
            {
                // Without a string for each word: there may be a hundred thousand of these lines.
                var endPoint = HexAddress.EndPoint(line[words[1]]);
                realServers.Add(new RealServer(endPoint.Address, (ushort)endPoint.Port, Method(line[words[2]]), Number(line[words[3]]),
                    Number(line[words[4]]), Number(line[words[5]])));
                continue;
            }
            if (count < 3 || first.SequenceEqual("->"))
                throw new FormatException($"Unknown line in ip_vs: '{line}'");
            realServers = [];
            servers.Add(new VirtualServerEntry(ParseServer(line, words[..count]), realServers));
        }
        return new IpvsTable(header ?? "", servers);
    }

    /// <summary>
    /// <c>TCP 0A0A0001:20DA rr persistent 30000 FFFFFFFF</c>, <c>FWM 00000007 rr ops</c> (ip_vs_info_seq_show). The time-out is in the
    /// kernel's jiffies, whose length the file does not tell: it stays 0.
    /// </summary>
    private static VirtualServer ParseServer(ReadOnlySpan<char> line, ReadOnlySpan<Range> words)
    {
        var flags = VirtualServerFlags.None;
        foreach (var word in words[3..])
        {
            flags |= line[word] switch
            {
                "ops" => VirtualServerFlags.OnePacket,
                "persistent" => VirtualServerFlags.Persistent,
                _ => VirtualServerFlags.None,
            };
        }
        var scheduler = line[words[2]].ToString();
        if (line[words[0]].SequenceEqual("FWM"))
            return new VirtualServer(null, uint.Parse(line[words[1]], NumberStyles.HexNumber, CultureInfo.InvariantCulture), scheduler,
                flags, PersistenceSeconds: 0);
        var endPoint = HexAddress.EndPoint(line[words[1]]);
        return new VirtualServer(new VirtualServerKey(TransportProtocols.Parse(line[words[0]]) ?? TransportProtocol.None,
            endPoint.Address, (ushort)endPoint.Port), 0, scheduler, flags, PersistenceSeconds: 0);
    }

    private static ForwardingMethod Method(ReadOnlySpan<char> word) => word switch
    {
        "Masq" => ForwardingMethod.Masq,
        "Route" => ForwardingMethod.Route,
        "Local" => ForwardingMethod.Local,
        "Tunnel" => ForwardingMethod.Tunnel,
        _ => Enum.Parse<ForwardingMethod>(word),
    };

    /// <inheritdoc/>
    public override string ToString() => VirtualServers.Count == 0 ? "(no virtual server)" : string.Join('\n', VirtualServers);

    private static int Number(ReadOnlySpan<char> text) => int.Parse(text, CultureInfo.InvariantCulture);
}
