using System.Text.RegularExpressions;
using Conformance.Labs;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// What a namespace holds, read by the stock tools and put into the form of the recordings: what is random, counted
/// or in no order of its own is dropped or sorted.
/// </summary>
internal sealed record KernelState(IReadOnlyDictionary<string, IReadOnlyList<string>> Files)
{
    private const string Device = "kube-ipvs0";
    private static readonly string[] s_files = ["addrs.txt", "ipset-save.txt", "iptables-save.txt", "ip6tables-save.txt", "ipvsadm.txt",
        "sysctls.txt"];

    /// <summary>Those of a namespace that kube-proxy sets, or is said to leave alone.</summary>
    private static readonly string[] s_sysctls =
    [
        "net/ipv4/vs/conntrack", "net/ipv4/vs/conn_reuse_mode", "net/ipv4/vs/expire_nodest_conn", "net/ipv4/vs/expire_quiescent_template",
            "net/ipv4/ip_forward",
        "net/ipv4/conf/all/arp_ignore", "net/ipv4/conf/all/arp_announce", "net/ipv4/conf/all/route_localnet", "net/ipv4/conf/all/rp_filter",
        "net/netfilter/nf_conntrack_tcp_timeout_established", "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
        "net/netfilter/nf_conntrack_tcp_be_liberal",
    ];

    /// <summary>Reads the state of a node with one process for each tool.</summary>
    internal static async Task<KernelState> ReadAsync(Node node)
    {
        // The kernel's list goes on where it was by a count over all namespaces: while another one changes, it repeats or
        // leaves out virtual servers (ip_vs_genl_dump_services). It is taken when it is the same twice.
        var script = $"""
            echo '=== addrs.txt'; ip address show dev kube-ipvs0 2>/dev/null; ip route show table local dev kube-ipvs0 2>/dev/null
            ip -6 route show table all dev kube-ipvs0 2>/dev/null
            echo '=== ipset-save.txt'; ipset -s save
            echo '=== iptables-save.txt'; iptables-save
            echo '=== ip6tables-save.txt'; ip6tables-save
            echo '=== ipvsadm.txt'; a=; b=-; while [ "$a" != "$b" ]; do a=$(ipvsadm -Sn); b=$(ipvsadm -Sn); done; echo "$a"; ipvsadm -l --timeout
            echo '=== sysctls.txt'; cd /proc/sys; grep -H '' {string.Join(' ', s_sysctls)} 2>/dev/null | sed 's/:/ = /'
            """;
        var text = (await node.Command("sh", "-c", script).ExecuteAsync()).StandardOutput;
        var sections = text.Split("=== ", StringSplitOptions.RemoveEmptyEntries)
            .ToDictionary(s => s[..s.IndexOf('\n', StringComparison.Ordinal)], s => s[(s.IndexOf('\n', StringComparison.Ordinal) + 1)..],
                StringComparer.Ordinal);
        return Of(file => sections.GetValueOrDefault(file, ""));
    }

    /// <summary>The state of a recording.</summary>
    internal static KernelState Of(Scenario scenario, string state = "state") =>
        Of(file => scenario.Recorded(file, state) + (file == "ipvsadm.txt" ? TimeoutOf(scenario.Recorded("sysctls.txt", state)) : ""));

    /// <summary>Lines that one has and the other has not, named by their file: + is here alone, - is there alone.</summary>
    internal IReadOnlyList<string> Differences(KernelState expected)
    {
        var differences = new List<string>();
        foreach (var file in expected.Files.Keys.Union(Files.Keys, StringComparer.Ordinal))
        {
            var (ours, theirs) = (Files.GetValueOrDefault(file, []), expected.Files.GetValueOrDefault(file, []));
            if (ours.SequenceEqual(theirs, StringComparer.Ordinal))
                continue;
            var more = Without(ours, theirs).Select(l => $"{file}: + {l}").Concat(Without(theirs, ours).Select(l => $"{file}: - {l}"))
                .ToList();
            differences.AddRange(more.Count > 0 ? more
                : [$"{file}: the same lines in another order:\n{string.Join('\n', ours)}\nbut recorded:\n{string.Join('\n', theirs)}"]);
        }
        return differences;
    }

    /// <summary>Holds changes against a recorded difference: what one has and the other has not.</summary>
    internal static IReadOnlyList<string> SameChanges(IReadOnlyList<string> changes, string recorded)
    {
        var expected = new List<string>();
        foreach (var part in recorded.Split("=== ", StringSplitOptions.RemoveEmptyEntries))
        {
            var lines = part.Split('\n');
            if (!s_files.Contains(lines[0], StringComparer.Ordinal))
                continue;
            foreach (var sign in new[] { '+', '-' })
            {
                var side = string.Join('\n', lines.Skip(1).Where(l => l.StartsWith(sign)).Select(l => l[1..]));
                expected.AddRange(Of(file => file == lines[0] ? side : "").Files[lines[0]].Select(l => $"{lines[0]}: {sign} {l}"));
            }
        }
        return [.. changes.Except(expected, StringComparer.Ordinal).Select(c => $"not recorded: {c}"),
            .. expected.Except(changes, StringComparer.Ordinal).Select(c => $"only recorded: {c}")];
    }

    private static KernelState Of(Func<string, string> read) => new(new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal)
    {
        ["addrs.txt"] = [.. Lines(read("addrs.txt")).Where(l => l.StartsWith("inet", StringComparison.Ordinal)
            || l.StartsWith("local", StringComparison.Ordinal) || l.Contains(Device + ": <", StringComparison.Ordinal))
            .Select(NormaliseAddress).Order(StringComparer.Ordinal)],
        ["ipset-save.txt"] =
            [.. Lines(read("ipset-save.txt"))
            .Select(l => Regex.Replace(l, " initval \\S+", "", RegexOptions.None, TimeSpan.FromSeconds(1))).Order(StringComparer.Ordinal)],
        ["iptables-save.txt"] = Tables(read("iptables-save.txt")),
        ["ip6tables-save.txt"] = Tables(read("ip6tables-save.txt")),
        ["ipvsadm.txt"] = [.. Lines(read("ipvsadm.txt")).Order(StringComparer.Ordinal)],
        ["sysctls.txt"] = [.. Lines(read("sysctls.txt")).Where(l => s_sysctls.Contains(l.Split(' ')[0], StringComparer.Ordinal))
            .Order(StringComparer.Ordinal)],
    });

    private static IEnumerable<string> Lines(string text) => text.Split('\n').Select(l => l.Trim())
        .Where(l => l.Length > 0 && !l.StartsWith('#'));

    private static string TimeoutOf(string sysctls) => Lines(sysctls)
        .FirstOrDefault(l => l.StartsWith("Timeout", StringComparison.Ordinal)) ?? "";

    /// <summary>The rules of each table in their order, the tables by name, without counters.</summary>
    private static List<string> Tables(string text)
    {
        var tables = new SortedDictionary<string, List<string>>(StringComparer.Ordinal);
        var table = "";
        foreach (var line in Lines(text))
        {
            if (line[0] == '*')
                table = line;
            if (!tables.TryGetValue(table, out var lines))
                tables[table] = lines = [];
            lines.Add(Regex.Replace(line, "\\[\\d+:\\d+\\]", "[0:0]", RegexOptions.None, TimeSpan.FromSeconds(1)));
        }
        return [.. tables.Values.SelectMany(l => l)];
    }

    /// <summary>Of the device's own line its flags and state; the interface's number is of the day.</summary>
    private static string NormaliseAddress(string line) =>
        line.Contains(": <", StringComparison.Ordinal)
            ? string.Join(' ', Regex.Matches(line, "<[^>]*>|state \\S+", RegexOptions.None, TimeSpan.FromSeconds(1)).Select(m => m.Value))
            : line;

    private static IEnumerable<string> Without(IReadOnlyList<string> lines, IReadOnlyList<string> others)
    {
        var left = others.GroupBy(l => l, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal);
        foreach (var line in lines)
        {
            if (left.TryGetValue(line, out var count) && count > 0)
                left[line] = count - 1;
            else
                yield return line;
        }
    }
}
