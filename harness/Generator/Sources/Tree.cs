namespace Conformance.Generator.Sources;

internal enum TreeKind
{
    Null,

    /// <summary>A plain scalar: a number, true or false, or (in YAML) text without quotes.</summary>
    Plain,

    /// <summary>Text.</summary>
    Text,
    Sequence,
    Mapping,

    /// <summary>Something that was not read, for the reason in its text.</summary>
    Refused,
}

/// <summary>One value of a YAML or JSON document, with the line that it stands on.</summary>
internal sealed class Tree(TreeKind kind, int line, string text = "")
{
    /// <summary>As many keys are compared one by one faster than by a set of them.</summary>
    private const int MaxCompared = 16;

    /// <summary>A list with room for more is not kept for another value: one large object would cost its memory to the end.</summary>
    private const int MaxKept = 64;

    /// <summary>Only what a sequence or a mapping has: of a million values most are neither.</summary>
    private Inside? _inside;

    private sealed class Inside
    {
        internal List<Tree>? Items;
        internal List<(string Key, Tree Value)>? Members;
        internal HashSet<string>? Keys;
        internal Tree? Refused;
        internal int Height;

        internal void Clear()
        {
            Items = Emptied(Items);
            Members = Emptied(Members);
            (Keys, Refused, Height) = (null, null, 0);
        }

        private static List<T>? Emptied<T>(List<T>? list)
        {
            if (list is null || list.Capacity > MaxKept)
                return null;
            list.Clear();
            return list;
        }
    }

    internal TreeKind Kind { get; private set; } = kind;

    internal int Line { get; private set; } = line;

    internal string Text { get; private set; } = text;

    internal IReadOnlyList<Tree> Items => _inside?.Items ?? [];

    internal IReadOnlyList<(string Key, Tree Value)> Members => _inside?.Members ?? [];

    /// <summary>How many levels stand below.</summary>
    internal int Height => _inside?.Height ?? 0;

    /// <summary>What was refused here or below, the first: the whole object is.</summary>
    internal Tree? Refused => Kind == TreeKind.Refused ? this : _inside?.Refused;

    /// <summary>
    /// Makes another value of this one, and keeps nothing of the old: a reader of ten thousand objects makes no tree for each.
    /// </summary>
    internal Tree Become(TreeKind kind, int line, string text)
    {
        (Kind, Line, Text) = (kind, line, text);
        _inside?.Clear();
        return this;
    }

    /// <param name="item">A value that has all its own values already.</param>
    internal void Add(Tree item)
    {
        var inside = _inside ??= new Inside();
        (inside.Items ??= []).Add(item);
        Count(inside, item);
    }

    /// <summary>A key that is there already is refused: of what would be read, one half would be lost without a word.</summary>
    /// <inheritdoc cref="Add(Tree)"/>
    internal void Add(string key, Tree value)
    {
        var inside = _inside ??= new Inside();
        if (IsKnown(inside, key))
            inside.Refused ??= new Tree(TreeKind.Refused, value.Line, $"has the key {key} twice");
        (inside.Members ??= []).Add((key, value));
        Count(inside, value);
    }

    private static void Count(Inside inside, Tree value)
    {
        inside.Height = Math.Max(inside.Height, value.Height + 1);
        inside.Refused ??= value.Refused;
    }

    private bool IsKnown(Inside inside, string key)
    {
        if (inside.Keys is null && (inside.Members?.Count ?? 0) < MaxCompared)
            return this[key] is not null;
        inside.Keys ??= Members.Select(m => m.Key).ToHashSet(StringComparer.Ordinal);
        return !inside.Keys.Add(key);
    }

    internal Tree? this[string key]
    {
        get
        {
            if (_inside?.Members is not { } members)
                return null;
            foreach (var (name, value) in members) // the list itself: an enumerator of an interface is an object
            {
                if (name == key)
                    return value;
            }
            return null;
        }
    }
}

/// <summary>The limits of an object.</summary>
internal static class Limits
{
    internal const int Depth = 100;

    /// <summary>Objects of one text that may be invalid; after so many it is taken for no manifest, and not read on.</summary>
    internal const int InvalidObjects = 100_000;

    /// <summary>
    /// Bytes of YAML for each of its values: a manifest has more, in its tightest form five. It bounds the time that a text takes
    /// by its size, which a parser of YAML alone does not.
    /// </summary>
    internal const int BytesOfValue = 4;

    /// <summary>
    /// Bytes of text. The API server stores at most 1.5 MiB (etcd's request limit), in an encoding that is up to five times as
    /// short: 30,000 ports are 2 MiB of JSON.
    /// </summary>
    internal const int Bytes = 8 << 20;

    /// <summary>Virtual servers of one Service: its addresses times its ports.</summary>
    internal const int VirtualServers = 100_000;

    /// <summary>Values of one object, aliases expanded.</summary>
    internal const int Values = 400_000;

    /// <summary>What stands for values that were not read, because the object has too many.</summary>
    internal static Tree TooManyValues(int line) => new(TreeKind.Refused, line, $"has more than {Values} values, aliases expanded");

    /// <summary>Values that the aliases of a whole document stand for.</summary>
    internal const int AliasValues = 1_000_000;
}

/// <summary>An object has more values than <see cref="Limits.Values"/>: the rest of it is passed over.</summary>
internal sealed class TooManyValuesException(int line) : Exception
{
    internal Tree Refused { get; } = Limits.TooManyValues(line);
}

/// <summary>A document that cannot be read on from here.</summary>
internal sealed class SyntaxException(int line, string message) : Exception(message)
{
    internal int Line { get; } = line;
}
