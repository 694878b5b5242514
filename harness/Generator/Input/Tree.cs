namespace Conformance.Generator.Input;

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
    private List<Tree>? _items;
    private List<(string Key, Tree Value)>? _members;

    internal TreeKind Kind { get; } = kind;

    internal int Line { get; } = line;

    internal string Text { get; } = text;

    internal IReadOnlyList<Tree> Items => _items ?? [];

    internal IReadOnlyList<(string Key, Tree Value)> Members => _members ?? [];

    /// <summary>How many levels stand below.</summary>
    internal int Height { get; private set; }

    /// <param name="item">A value that has all its own values already.</param>
    internal void Add(Tree item)
    {
        (_items ??= []).Add(item);
        Height = Math.Max(Height, item.Height + 1);
    }

    /// <inheritdoc cref="Add(Tree)"/>
    internal void Add(string key, Tree value)
    {
        (_members ??= []).Add((key, value));
        Height = Math.Max(Height, value.Height + 1);
    }

    /// <summary>The first value below that was refused: the whole object is.</summary>
    internal Tree? FindRefused()
    {
        if (Kind == TreeKind.Refused)
            return this;
        foreach (var item in Items)
        {
            if (item.FindRefused() is { } refused)
                return refused;
        }
        foreach (var (_, value) in Members)
        {
            if (value.FindRefused() is { } refused)
                return refused;
        }
        return null;
    }

    internal Tree? this[string key]
    {
        get
        {
            foreach (var (name, value) in Members)
            {
                if (name == key)
                    return value;
            }
            return null;
        }
    }
}

/// <summary>The limits of an object, those of the API server: 1.5 MiB (etcd's request limit) and, in depth, ours.</summary>
internal static class Limits
{
    internal const int Depth = 100;
    internal const int Bytes = 3 << 19;

    /// <summary>Values of one object, aliases expanded.</summary>
    internal const int Values = 100_000;
}

/// <summary>A document that cannot be read on from here.</summary>
internal sealed class SyntaxException(int line, string message) : Exception(message)
{
    internal int Line { get; } = line;
}
