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

    private List<Tree>? _items;
    private List<(string Key, Tree Value)>? _members;
    private HashSet<string>? _keys;
    private Tree? _refused;

    internal TreeKind Kind { get; } = kind;

    internal int Line { get; } = line;

    internal string Text { get; } = text;

    internal IReadOnlyList<Tree> Items => _items ?? [];

    internal IReadOnlyList<(string Key, Tree Value)> Members => _members ?? [];

    /// <summary>How many levels stand below.</summary>
    internal int Height { get; private set; }

    /// <summary>What was refused here or below, the first: the whole object is.</summary>
    internal Tree? Refused => Kind == TreeKind.Refused ? this : _refused;

    /// <param name="item">A value that has all its own values already.</param>
    internal void Add(Tree item)
    {
        (_items ??= []).Add(item);
        Count(item);
    }

    /// <summary>A key that is there already is refused: of what would be read, one half would be lost without a word.</summary>
    /// <inheritdoc cref="Add(Tree)"/>
    internal void Add(string key, Tree value)
    {
        if (IsKnown(key))
            _refused ??= new Tree(TreeKind.Refused, value.Line, $"has the key {key} twice");
        (_members ??= []).Add((key, value));
        Count(value);
    }

    private void Count(Tree value)
    {
        Height = Math.Max(Height, value.Height + 1);
        _refused ??= value.Refused;
    }

    private bool IsKnown(string key)
    {
        if (_keys is null && (_members?.Count ?? 0) < MaxCompared)
            return this[key] is not null;
        _keys ??= Members.Select(m => m.Key).ToHashSet(StringComparer.Ordinal);
        return !_keys.Add(key);
    }

    internal Tree? this[string key]
    {
        get
        {
            if (_members is null)
                return null;
            foreach (var (name, value) in _members) // the list itself: an enumerator of an interface is an object
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
