using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Conformance.Linux;

namespace Conformance.Generator.Sources;

/// <summary>
/// Reads the objects of a JSON text one after another, so that a large list is never whole in memory as a tree:
/// the items of a <c>List</c> each by itself, or the one object that the text is.
/// </summary>
internal static class JsonTrees
{
    /// <param name="handle">Called with each object and its size in bytes. Its values are used again for the next item.</param>
    /// <param name="handleList">Called with each list, without its items.</param>
    /// <exception cref="SyntaxException">The rest of the text cannot be read.</exception>
    internal static void Read(ReadOnlySpan<byte> utf8, Action<Tree, long> handle, Action<Tree>? handleList = null)
    {
        var memory = new Memory();
        // The depth is ours to judge, object by object; the reader's own limit would end the whole text.
        var reader = new Utf8JsonReader(utf8, isFinalBlock: true,
            new JsonReaderState(new JsonReaderOptions { MaxDepth = int.MaxValue / 2, AllowMultipleValues = true }));
        try
        {
            while (reader.Read())
            {
                var start = reader.TokenStartIndex;
                var tree = reader.TokenType == JsonTokenType.StartObject
                    ? ReadTop(ref reader, utf8, ref memory, handle, handleList)
                    : ReadItem(ref reader, utf8, ref memory);
                if (tree is not null)
                    handle(tree, reader.BytesConsumed - start);
            }
        }
        catch (JsonException e)
        {
            throw new SyntaxException((int)(e.LineNumber ?? 0) + 1, e.Message.Split(" LineNumber:")[0]);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or FormatException)
        {
            throw new SyntaxException(1, e.Message);
        }
    }

    /// <summary>Reads a top-level object; null when it is a list, whose items have been handled.</summary>
    private static Tree? ReadTop(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8, ref Memory memory, Action<Tree, long> handle,
        Action<Tree>? handleList)
    {
        var tree = new Tree(TreeKind.Mapping, memory.LineAt(utf8, reader.TokenStartIndex));
        var (isList, values) = (false, 0);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var key = KeyOf(ref reader, ref memory);
            reader.Read();
            if (key == "items" && reader.TokenType == JsonTokenType.Null && handleList is not null)
            {
                isList = true; // how Go writes an empty list
                continue;
            }
            if (key != "items" || reader.TokenType != JsonTokenType.StartArray)
            {
                Add(tree, key, ReadValue(ref reader, utf8, ref memory, 1, ref values), values);
                continue;
            }
            isList = true;
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                var start = reader.TokenStartIndex;
                var item = ReadItem(ref reader, utf8, ref memory);
                handle(item, reader.BytesConsumed - start);
            }
        }
        if (!isList)
            return tree;
        handleList?.Invoke(tree);
        return null;
    }

    private static Tree ReadItem(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8, ref Memory memory)
    {
        var values = 0;
        memory.StartItem();
        var item = ReadValue(ref reader, utf8, ref memory, 0, ref values);
        memory.EndItem();
        return item;
    }

    /// <param name="values">How many values the object has so far; after too many, what follows is passed over.</param>
    private static Tree ReadValue(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8, ref Memory memory, int depth, ref int values)
    {
        var line = memory.LineAt(utf8, reader.TokenStartIndex);
        if (++values > Limits.Values)
        {
            reader.Skip();
            return Limits.TooManyValues(line);
        }
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject or JsonTokenType.StartArray when depth >= Limits.Depth:
                reader.Skip();
                return memory.TreeOf(TreeKind.Refused, line, $"nested more than {Limits.Depth} levels deep");
            case JsonTokenType.StartObject:
                var mapping = memory.TreeOf(TreeKind.Mapping, line);
                while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
                {
                    var key = KeyOf(ref reader, ref memory);
                    reader.Read();
                    Add(mapping, key, ReadValue(ref reader, utf8, ref memory, depth + 1, ref values), values);
                }
                return mapping;
            case JsonTokenType.StartArray:
                var sequence = memory.TreeOf(TreeKind.Sequence, line);
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                    Add(sequence, null, ReadValue(ref reader, utf8, ref memory, depth + 1, ref values), values);
                return sequence;
            case JsonTokenType.String:
                return TextOf(ref reader, ref memory, line);
            case JsonTokenType.Null:
                return memory.TreeOf(TreeKind.Null, line);
            default:
                return memory.TreeOf(TreeKind.Plain, line, reader.TokenType switch
                {
                    JsonTokenType.True => "true",
                    JsonTokenType.False => "false",
                    _ => Encoding.UTF8.GetString(reader.ValueSpan),
                });
        }
    }

    /// <summary>Of the values that are too many the first one is kept: by it the object is refused.</summary>
    private static void Add(Tree parent, string? key, Tree value, int values)
    {
        if (values > Limits.Values + 1 && parent.Refused is not null)
            return;
        if (key is null)
            parent.Add(value);
        else
            parent.Add(key, value);
    }

    private static Tree TextOf(ref Utf8JsonReader reader, ref Memory memory, int line)
    {
        try
        {
            return memory.TreeOf(TreeKind.Text, line, memory.TextOf(ref reader));
        }
        catch (InvalidOperationException) // half a surrogate pair, or bytes that are no UTF-8
        {
            return new Tree(TreeKind.Refused, line, "is no valid Unicode text");
        }
    }

    private static string KeyOf(ref Utf8JsonReader reader, ref Memory memory)
    {
        try
        {
            return memory.TextOf(ref reader);
        }
        catch (InvalidOperationException)
        {
            return "\uFFFD"; // no key of the API's
        }
    }

    /// <summary>What is remembered while a text is read.</summary>
    [StructLayout(LayoutKind.Auto)]
    private struct Memory()
    {
        private const int MaxLength = 64;
        private const int MaxTrees = 4096;

        private readonly string?[] _texts = new string?[1024];
        private readonly List<Tree> _trees = [];
        private int _used;
        private bool _isInItem;
        private int _line = 1;
        private long _position;

        /// <summary>The line numbers of ascending positions, each byte looked at once.</summary>
        internal int LineAt(ReadOnlySpan<byte> utf8, long position)
        {
            _line += utf8[(int)_position..(int)position].Count((byte)'\n');
            _position = position;
            return _line;
        }

        /// <summary>Makes the values of the item before available again.</summary>
        internal void StartItem() => (_used, _isInItem) = (0, true);

        internal void EndItem() => _isInItem = false;

        /// <summary>A value that is used again, inside an item; a new one outside.</summary>
        internal Tree TreeOf(TreeKind kind, int line, string text = "")
        {
            if (_isInItem && _used < _trees.Count)
                return _trees[_used++].Become(kind, line, text);
            var tree = new Tree(kind, line, text);
            if (_isInItem && _used < MaxTrees)
            {
                _trees.Add(tree);
                _used++;
            }
            return tree;
        }

        /// <summary>The text of a key or value. What comes again and again, such as keys and nodes' names, is one string.</summary>
        internal readonly string TextOf(ref Utf8JsonReader reader)
        {
            if (reader.ValueSpan.Length > MaxLength)
                return reader.GetString()!;
            var hash = new HashCode();
            hash.AddBytes(reader.ValueSpan);
            ref var known = ref _texts[hash.ToHashCode() & (_texts.Length - 1)];
            return known is not null && reader.ValueTextEquals(known) ? known : known = reader.GetString()!;
        }
    }
}
