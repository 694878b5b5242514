using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Conformance.Fuzzing;

/// <summary>Makes inputs of a corpus: JSON by its structure, texts by lines, and anything by bytes.</summary>
/// <param name="corpus">Inputs, at least one.</param>
internal sealed class Mutator(IReadOnlyList<byte[]> corpus, Random random)
{
    private const int MostChanges = 6;
    private const int Deep = 2000;

    /// <summary>Values at the edges of what fields may have, and names of files that never end.</summary>
    private static readonly string[] s_values =
    [
        "null", "true", "false", "0", "-1", "1", "65535", "65536", "2147483648", "-9223372036854775808", "1e400", "0.5", "\"\"", "\" \"",
        "[]", "{}", "\"0\"", "\"0.0.0.0\"", "\"::\"", "\"255.255.255.255/33\"", "\"10.0.0.0/0\"", "\"fe80::1%eth0\"", "\"::ffff:1.2.3.4\"",
        "\"ClientIP\"", "\"Local\"", "\"TCP\"", "\"SCTP\"", "\"\\u0000\"", "\"\\ud800\"", "\"../../etc/passwd\"", "\"/dev/zero\"",
        "\"-j ACCEPT\"", "\"a\\nb\"", "\"\\u001b[31m\"", "\"https://[::1%25lo]:0/\"", "\"IPv6\"", "\"12h\"", "\"-5s\"",
    ];

    private static readonly byte[] s_bytes =
        [0, 1, 0x0a, 0x20, 0x22, 0x26, 0x2a, 0x2d, 0x3a, 0x5b, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0xc0, 0xff];

    private readonly List<JsonNode> _trees = [.. corpus.Select(TryParse).OfType<JsonNode>()];

    /// <summary>An input that is still JSON; null where the corpus has none.</summary>
    internal JsonNode? NextTree()
    {
        if (_trees.Count == 0)
            return null;
        var root = Pick(_trees).DeepClone();
        for (var i = random.Next(1, MostChanges); i > 0; i--)
            Change(root);
        return root;
    }

    /// <summary>An input of any kind.</summary>
    internal byte[] Next()
    {
        if (random.Next(3) == 0 && NextTree() is { } tree)
            return Encoding.UTF8.GetBytes(tree.ToJsonString());
        var bytes = Pick(corpus).ToList();
        for (var i = random.Next(1, MostChanges); i > 0; i--)
        {
            if (random.Next(2) == 0)
                ChangeBytes(bytes);
            else
                ChangeLines(bytes);
        }
        return [.. bytes];
    }

    /// <summary>The JSON of a text; null where it is none, or has text that cannot be written again.</summary>
    private static JsonNode? TryParse(byte[] bytes)
    {
        try
        {
            var tree = JsonNode.Parse(bytes, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false });
            _ = tree?.ToJsonString();
            return tree;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private void Change(JsonNode root)
    {
        var all = new List<JsonNode>();
        Collect(root, all);
        var chosen = Pick(all);
        switch (chosen)
        {
            case JsonObject item when item.Count > 0 && random.Next(2) == 0:
                var key = item.ElementAt(random.Next(item.Count)).Key;
                if (random.Next(2) == 0)
                    item.Remove(key);
                else
                    item[key] = Value();
                break;
            case JsonArray list when random.Next(2) == 0:
                if (list.Count > 0 && random.Next(3) == 0)
                    list.RemoveAt(random.Next(list.Count));
                else
                    list.Insert(random.Next(list.Count + 1), Value());
                break;
            default:
                if (chosen != root)
                    chosen.ReplaceWith(Value());
                break;
        }

        JsonNode? Value() => random.Next(20) switch
        {
            0 => Nested(random.Next(1, Deep)),
            1 => JsonValue.Create(new string((char)random.Next(1, 0xd7ff), random.Next(1, 5000))),
            2 => new JsonArray([.. Enumerable.Range(0, random.Next(1, 500)).Select(i => (JsonNode?)JsonValue.Create(i))]),
            < 8 => Pick(all).DeepClone(),
            _ => Edge(),
        };
    }

    private JsonNode? Edge()
    {
        var text = Pick(s_values);
        return text == "\"\\ud800\"" ? JsonValue.Create("\ud800") : JsonNode.Parse(text);
    }

    private static JsonArray Nested(int depth)
    {
        var root = new JsonArray();
        for (var (i, inner) = (0, root); i < Math.Min(depth, 60); i++)
        {
            var next = new JsonArray();
            inner.Add(next);
            inner = next;
        }
        return root;
    }

    private static void Collect(JsonNode node, List<JsonNode> all)
    {
        all.Add(node);
        var children = node switch
        {
            JsonObject item => item.Select(p => p.Value),
            JsonArray list => list,
            _ => [],
        };
        foreach (var child in children.OfType<JsonNode>())
            Collect(child, all);
    }

    private void ChangeBytes(List<byte> bytes)
    {
        var at = random.Next(bytes.Count + 1);
        switch (random.Next(8))
        {
            case 0 when bytes.Count > at:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1 when bytes.Count > at:
                bytes[at] = Pick(s_bytes);
                break;
            case 2:
                bytes.Insert(at, Pick(s_bytes));
                break;
            case 3:
                bytes.RemoveRange(at, Math.Min(random.Next(1, 40), bytes.Count - at));
                break;
            case 4:
                bytes.RemoveRange(at, bytes.Count - at); // torn
                break;
            case 5:
                bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(1, 200), bytes.Count - at)));
                break;
            case 6:
                var other = Pick(corpus);
                var from = random.Next(other.Length + 1);
                bytes.InsertRange(at, other.Skip(from).Take(random.Next(1, 300)));
                break;
            default:
                bytes.InsertRange(at, Enumerable.Repeat(Pick(s_bytes), random.Next(1, random.Next(1, Deep))));
                break;
        }
    }

    private void ChangeLines(List<byte> bytes)
    {
        var lines = Encoding.Latin1.GetString([.. bytes]).Split('\n').ToList();
        var at = random.Next(lines.Count);
        switch (random.Next(5))
        {
            case 0:
                lines.RemoveAt(at);
                break;
            case 1:
                lines.Insert(random.Next(lines.Count), lines[at]);
                break;
            case 2:
                lines[at] = (random.Next(2) == 0 ? "  " : "\t") + lines[at];
                break;
            case 3:
                lines[at] = lines[at].TrimStart();
                break;
            default:
                var colon = lines[at].IndexOf(':', StringComparison.Ordinal);
                lines[at] = $"{lines[at][..(colon + 1)]} {Pick(s_values)}";
                break;
        }
        bytes.Clear();
        bytes.AddRange(Encoding.Latin1.GetBytes(string.Join('\n', lines)));
    }

    private T Pick<T>(IReadOnlyList<T> items) => items[random.Next(items.Count)];
}
