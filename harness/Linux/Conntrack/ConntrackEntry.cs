using System.Globalization;
using System.Net;
using Conformance.Linux.Namespaces;

namespace Conformance.Linux.Conntrack;

/// <summary>Addresses and ports of one direction. Ports are 0 for protocols without them.</summary>
public sealed record ConntrackTuple(IPAddress Source, IPAddress Destination, int SourcePort, int DestinationPort)
{
    /// <inheritdoc/>
    public override string ToString() => $"src={Source} dst={Destination} sport={SourcePort} dport={DestinationPort}";
}

/// <summary>
/// One entry of <c>/proc/net/nf_conntrack</c>, field by field: the layer-3 protocol's name and number (2 is AF_INET,
/// not an IP protocol), the layer-4 protocol's name and number, seconds left, state (TCP, SCTP), the two tuples, flags.
/// Source: net/netfilter/nf_conntrack_standalone.c.
/// </summary>
public sealed record ConntrackEntry(
    string NetworkProtocol,
    int NetworkProtocolNumber,
    string Protocol,
    int ProtocolNumber,
    int SecondsLeft,
    string State,
    ConntrackTuple Original,
    ConntrackTuple Reply,
    bool IsAssured,
    bool IsUnreplied)
{
    private const string File = "/proc/thread-self/net/nf_conntrack";

    /// <summary>As much as one call of read(2) gives at most (fs/seq_file.c).</summary>
    private const int PageSize = 4096;

    /// <summary>The longest line, generously.</summary>
    private const int LineSize = 512;

    private const int MaxReadings = 10;

    private static readonly string[] s_identifying = ["src=", "dst=", "sport=", "dport=", "type=", "code=", "id=", "zone"];

    /// <summary>
    /// Reads the table of a namespace; empty where the kernel has none. Reading does not switch connection tracking on.
    /// </summary>
    /// <remarks>
    /// The kernel gives the file page by page, and finds the place of the next one by counting the entries of all namespaces
    /// (ct_get_idx): when any of them has ended meanwhile, an entry is missed. So a longer table is read until a reading adds none.
    /// </remarks>
    public static IReadOnlyList<ConntrackEntry> Read(NetworkNamespace ns)
    {
        var text = ReadOnce(ns);
        var entries = Parse(text);
        for (var i = 1; i < MaxReadings && text.Length > PageSize - LineSize; i++)
        {
            var known = entries.Count;
            text = $"{ReadOnce(ns)}{text}"; // of one entry in several readings, what was read last counts
            entries = Parse(text);
            if (entries.Count == known)
                break;
        }
        return entries;
    }

    private static string ReadOnce(NetworkNamespace ns) =>
        ns.Run(() => System.IO.File.Exists(File) ? System.IO.File.ReadAllText(File) : "");

    /// <summary>
    /// The entries of the file's text, each once: the kernel walks the chains of a hash table that all namespaces share,
    /// and starts a chain again when an entry of any of them moved meanwhile (ct_get_next), which repeats lines.
    /// </summary>
    public static IReadOnlyList<ConntrackEntry> Parse(string text) =>
        [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).DistinctBy(Identity, StringComparer.Ordinal).Select(ParseLine)];

    /// <inheritdoc/>
    public override string ToString() =>
        $"{NetworkProtocol} {NetworkProtocolNumber} {Protocol} {ProtocolNumber} {SecondsLeft}{(State.Length > 0 ? $" {State}" : "")} " +
        $"{Original} {(IsUnreplied ? "[UNREPLIED] " : "")}{Reply}{(IsAssured ? " [ASSURED]" : "")}";

    /// <summary>What tells entries apart: protocols, tuples and zone; not the seconds left, the state, the counters.</summary>
    private static string Identity(string line)
    {
        var words = HexAddress.Words(line);
        return string.Join(' ', words.Take(4).Concat(words.Where(w =>
            s_identifying.Any(key => w.StartsWith(key, StringComparison.Ordinal)))));
    }

    private static ConntrackEntry ParseLine(string line)
    {
        var words = HexAddress.Words(line);
        if (words.Length < 8)
            throw new FormatException($"Unknown line in nf_conntrack: '{line}'");
        var state = words[5].Contains('=', StringComparison.Ordinal) || words[5].StartsWith('[') ? "" : words[5];
        return new ConntrackEntry(
            words[0], Number(words[1]), words[2], Number(words[3]), Number(words[4]), state,
            Tuple(words, occurrence: 0), Tuple(words, occurrence: 1),
            words.Contains("[ASSURED]", StringComparer.Ordinal),
            words.Contains("[UNREPLIED]", StringComparer.Ordinal));
    }

    private static ConntrackTuple Tuple(string[] words, int occurrence) => new(
        IPAddress.Parse(Value(words, "src=", occurrence) ?? "0.0.0.0"),
        IPAddress.Parse(Value(words, "dst=", occurrence) ?? "0.0.0.0"),
        Number(Value(words, "sport=", occurrence) ?? "0"),
        Number(Value(words, "dport=", occurrence) ?? "0"));

    private static string? Value(string[] words, string key, int occurrence) =>
        words.Where(w => w.StartsWith(key, StringComparison.Ordinal)).Skip(occurrence).FirstOrDefault()?[key.Length..];

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
