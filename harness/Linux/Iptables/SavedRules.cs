using System.Globalization;

namespace Conformance.Linux.Iptables;

/// <summary>One rule as iptables-save(8) prints it.</summary>
/// <param name="Text">The rule without <c>-A CHAIN</c>: <c>-p tcp -j ACCEPT</c>.</param>
/// <param name="Packets">Matched packets; 0 where the text has no counters.</param>
/// <param name="Bytes">Matched bytes; 0 where the text has no counters.</param>
public sealed record Rule(string Table, string Chain, string Text, long Packets = 0, long Bytes = 0)
{
    /// <summary>The target or chain behind <c>-j</c> or <c>-g</c>; empty for a rule that only counts.</summary>
    public string Target => TargetOf(Text);

    /// <summary>The target or chain that a rule's text names behind <c>-j</c> or <c>-g</c>; empty when it names none.</summary>
    public static string TargetOf(string text)
    {
        var words = text.Split(' ');
        var at = Array.FindLastIndex(words, w => w is "-j" or "-g");
        return at >= 0 && at + 1 < words.Length ? words[at + 1] : "";
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Table}: [{Packets}:{Bytes}] -A {Chain} {Text}");
}

/// <summary>
/// The rules of one family, in order: the parsed output of iptables-save(8), ip6tables-save(8), with or without counters (<c>-c</c>).
/// </summary>
public sealed class SavedRules
{
    private readonly Dictionary<(string Table, string Chain), List<Rule>> _chains = [];

    private SavedRules()
    {
    }

    /// <summary>Tables and chains, the built-in ones included, in the order of the text.</summary>
    public IReadOnlyCollection<(string Table, string Chain)> Chains => _chains.Keys;

    /// <summary>All rules in the order of the text.</summary>
    public IEnumerable<Rule> All => _chains.Values.SelectMany(r => r);

    /// <summary>The rules of a chain in order; empty when there is no such chain.</summary>
    public IReadOnlyList<Rule> Of(string table, string chain) => _chains.GetValueOrDefault((table, chain)) ?? [];

    /// <summary>Parses the output of iptables-save. Lines that are neither table, chain nor rule (comments, COMMIT) are skipped.</summary>
    public static SavedRules Parse(string save)
    {
        var rules = new SavedRules();
        var table = "";
        foreach (var line in Lines(save))
        {
            if (line.StartsWith('*'))
                table = line[1..];
            else if (line.StartsWith(':'))
                rules._chains[(table, line[1..].Split(' ')[0])] = [];
            else if (ParseRule(table, line) is { } rule && rules._chains.TryGetValue((table, rule.Chain), out var chain))
                chain.Add(rule);
        }
        return rules;
    }

    /// <summary><c>-A CHAIN RULE</c>, or <c>[PACKETS:BYTES] -A CHAIN RULE</c>.</summary>
    private static Rule? ParseRule(string table, string line)
    {
        var rest = line.AsSpan();
        var (packets, bytes) = (0L, 0L);
        if (rest.StartsWith("["))
        {
            var (colon, end) = (rest.IndexOf(':'), rest.IndexOf(']'));
            if (colon < 0 || end < colon || !long.TryParse(rest[1..colon], CultureInfo.InvariantCulture, out packets)
                || !long.TryParse(rest[(colon + 1)..end], CultureInfo.InvariantCulture, out bytes))
                return null;
            rest = rest[(end + 1)..].TrimStart(' ');
        }
        if (!rest.StartsWith("-A "))
            return null;
        rest = rest[3..];
        var space = rest.IndexOf(' ');
        return space < 0 ? new Rule(table, rest.ToString(), "", packets, bytes)
            : new Rule(table, rest[..space].ToString(), rest[(space + 1)..].ToString(), packets, bytes);
    }

    /// <summary>Splits at line breaks outside quotes: a comment may contain line breaks.</summary>
    private static IEnumerable<string> Lines(string save)
    {
        var (start, isQuoted) = (0, false);
        for (var i = 0; i < save.Length; i++)
        {
            if (save[i] == '\\' && isQuoted)
                i++;
            else if (save[i] == '"' && save[start] is ('-' or '['))
                isQuoted = !isQuoted;
            else if (save[i] == '\n' && !isQuoted)
            {
                yield return save[start..i];
                start = i + 1;
            }
        }
        if (start < save.Length)
            yield return save[start..];
    }
}
