using Conformance.Linux;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Conformance.Generator.Sources;

/// <summary>Reads the objects of a YAML text: its documents, and the items of a <c>List</c> each by itself.</summary>
internal static class YamlTrees
{
    /// <summary>
    /// Characters of a key. YAML's own limit of 1,024 is for keys in blocks, and no parser of Kubernetes' has one in brackets; ours looks
    /// so far ahead at each bracket, and takes the square of it in time.
    /// </summary>
    private const int MaxKeyLength = 4 << 10;

    /// <summary>The documents of a text with the line that each starts at. A broken one does not take the others with it.</summary>
    internal static IEnumerable<(int Line, string Text)> Documents(string text)
    {
        var start = 0;
        var (firstLine, line) = (1, 1);
        for (var at = 0; at < text.Length; line++)
        {
            var end = text.IndexOf('\n', at);
            var next = end < 0 ? text.Length : end + 1;
            // At the start of a line this can only be a document's marker: everything inside a document is indented or no marker.
            if (text.AsSpan(at, next - at).TrimEnd() is "---" && !IsPreamble(text.AsSpan(start, at - start)))
            {
                if (!IsEmpty(text.AsSpan(start, at - start)))
                    yield return (firstLine, text[start..at]);
                (start, firstLine) = (at, line);
            }
            at = next;
        }
        if (start < text.Length && !IsEmpty(text.AsSpan(start)))
            yield return (firstLine, text[start..]);
    }

    /// <summary>
    /// Whether a document has nothing but its marker, comments and empty lines; a parser for each would take seconds for a million.
    /// </summary>
    private static bool IsEmpty(ReadOnlySpan<char> text)
    {
        foreach (var line in text.EnumerateLines())
        {
            if (line.Trim() is not ("" or "---") && line.TrimStart()[0] != '#')
                return false;
        }
        return true;
    }

    /// <summary>Directives, comments and empty lines: what stands before a document's marker and belongs to it.</summary>
    private static bool IsPreamble(ReadOnlySpan<char> text)
    {
        foreach (var line in text.EnumerateLines())
        {
            if (line.Trim().Length > 0 && line[0] is not ('%' or '#'))
                return false;
        }
        return true;
    }

    /// <param name="handle">Called with each object and its size in bytes.</param>
    /// <exception cref="SyntaxException">The document cannot be read.</exception>
    internal static void Read(string document, int firstLine, Action<Tree, long> handle)
    {
        try
        {
            var parser = new BoundedParser(new Parser(new Scanner(new StringReader(document), skipComments: true, MaxKeyLength)),
                document.Length);
            parser.Consume<StreamStart>();
            while (parser.TryConsume<DocumentStart>(out _))
            {
                var reader = new DocumentReader(parser, document, firstLine - 1);
                reader.ReadTop(handle);
                parser.Consume<DocumentEnd>();
            }
        }
        catch (YamlException e)
        {
            throw new SyntaxException((int)e.Start.Line + firstLine - 1, e.Message);
        }
        catch (Exception e) when (
            e is InvalidOperationException or ArgumentException or FormatException or OverflowException or IndexOutOfRangeException)
        {
            // What the parser throws on some unclosed brackets, and on escapes of no character.
            throw new SyntaxException(firstLine, e.Message);
        }
    }

    /// <summary>
    /// A parser whose time is bounded by the document's length: that of YamlDotNet grows with the depth of brackets times the number of
    /// values, and a value may be two bytes.
    /// </summary>
    private sealed class BoundedParser(Parser parser, int length) : IParser
    {
        private const int FreeEvents = 1000;

        /// <summary>
        /// Levels that make an event cost as much as another one: the parser looks at each level's brackets for each of them.
        /// </summary>
        private const int CostlyLevels = 40;

        private readonly int _maxCost = FreeEvents + (length / Limits.BytesOfValue);
        private int _cost;

        /// <summary>The level of the current event; the end of a mapping is outside of it.</summary>
        internal int Depth { get; private set; }

        public ParsingEvent? Current => parser.Current;

        public bool MoveNext()
        {
            if (!parser.MoveNext())
                return false;
            Depth += parser.Current!.NestingIncrease;
            _cost += 1 + (Depth / CostlyLevels);
            if (_cost > _maxCost)
                throw new YamlException(parser.Current.Start, parser.Current.End,
                    "is nested deeper, or has more values, than any manifest of its size");
            return true;
        }

        /// <summary>Passes over what is left of the mapping or sequence whose contents are at a level, and over its end.</summary>
        internal void SkipRest(int depth)
        {
            while (Depth >= depth && MoveNext())
            {
            }
            MoveNext();
        }
    }

    private sealed class DocumentReader(BoundedParser parser, string document, int lineOffset)
    {
        private readonly Dictionary<string, (Tree Tree, int Values)> _anchors = new(StringComparer.Ordinal);
        private int _values;
        private long _aliasValues;

        internal void ReadTop(Action<Tree, long> handle)
        {
            var start = parser.Current!.Start.Index;
            if (parser.Accept<MappingStart>(out _))
            {
                var depth = parser.Depth;
                var tree = new Tree(TreeKind.Mapping, LineOf(parser.Consume<MappingStart>()));
                var isList = false;
                var end = 0L;
                try
                {
                    while (!parser.Accept<MappingEnd>(out _))
                    {
                        var key = parser.Consume<Scalar>().Value;
                        if (key != "items" || !parser.Accept<SequenceStart>(out _))
                        {
                            tree.Add(key, Read(1));
                            continue;
                        }
                        isList = true;
                        parser.Consume<SequenceStart>();
                        while (!parser.TryConsume<SequenceEnd>(out _))
                        {
                            var itemStart = parser.Current!.Start.Index;
                            _values = 0;
                            handle(Read(0), BytesOf(itemStart, parser.Current!.Start.Index));
                        }
                    }
                    end = parser.Consume<MappingEnd>().End.Index;
                }
                catch (TooManyValuesException e)
                {
                    parser.SkipRest(depth);
                    tree.Add("", e.Refused);
                    handle(tree, 0);
                    return;
                }
                if (!isList)
                    handle(Merged(tree), BytesOf(start, end));
                return;
            }
            var value = Read(0);
            if (value.Kind != TreeKind.Null)
                handle(value, 0);
        }

        private Tree Read(int depth)
        {
            var line = LineOf(parser.Current!);
            if (parser.TryConsume<AnchorAlias>(out var alias))
            {
                if (!_anchors.TryGetValue(alias.Value.Value, out var target))
                    return new Tree(TreeKind.Refused, line, $"the alias *{alias.Value} names no anchor before it");
                _aliasValues += target.Values;
                if (_aliasValues > Limits.AliasValues)
                    return new Tree(TreeKind.Refused, line, $"the document's aliases stand for more than {Limits.AliasValues} values");
                if (depth == 0 && target.Values > Limits.Values)
                    return Limits.TooManyValues(line); // an item of a list by itself, which takes no sibling with it
                Count(target.Values, line);
                return depth + target.Tree.Height > Limits.Depth ? TooDeep(line) : target.Tree;
            }
            var before = _values;
            Count(1, line);
            if (depth >= Limits.Depth && !parser.Accept<Scalar>(out _))
            {
                parser.SkipThisAndNestedEvents();
                return TooDeep(line);
            }
            var anchor = (parser.Current as NodeEvent)?.Anchor ?? AnchorName.Empty;
            var tree = parser.TryConsume<Scalar>(out var scalar) ? ScalarOf(scalar, line) : ReadCollection(depth, line);
            if (!anchor.IsEmpty)
                _anchors[anchor.Value] = (tree, _values - before);
            return tree;
        }

        private Tree ReadCollection(int depth, int line)
        {
            var inside = parser.Depth;
            var isSequence = parser.TryConsume<SequenceStart>(out _);
            if (!isSequence)
                parser.Consume<MappingStart>();
            var tree = new Tree(isSequence ? TreeKind.Sequence : TreeKind.Mapping, line);
            try
            {
                while (isSequence && !parser.TryConsume<SequenceEnd>(out _))
                    tree.Add(Read(depth + 1));
                while (!isSequence && !parser.TryConsume<MappingEnd>(out _))
                {
                    var key = Read(depth + 1);
                    var value = Read(depth + 1);
                    if (key.Kind is TreeKind.Text or TreeKind.Plain)
                        tree.Add(key.Text, value);
                }
            }
            catch (TooManyValuesException e) when (depth == 0)
            {
                // An item of a list that is too large keeps its siblings, and what is known of it by now: its name, say.
                parser.SkipRest(inside);
                tree.Add(e.Refused);
            }
            return isSequence ? tree : Merged(tree);
        }

        private static Tree TooDeep(int line) => new(TreeKind.Refused, line, $"nested more than {Limits.Depth} levels deep");

        private void Count(int count, int line)
        {
            _values += count;
            if (_values > Limits.Values)
                throw new TooManyValuesException(line);
        }

        /// <summary>
        /// A mapping together with the mappings of its merge key (&lt;&lt;): the type "merge" of YAML 1.1, as kubectl reads it.
        /// </summary>
        private static Tree Merged(Tree mapping)
        {
            if (mapping["<<"] is not { } named || mapping.Refused is not null)
                return mapping;
            var merged = new Tree(TreeKind.Mapping, mapping.Line);
            var keys = new HashSet<string>(StringComparer.Ordinal);
            foreach (var source in (Tree[])[mapping, .. named.Kind == TreeKind.Sequence ? named.Items : [named]])
            {
                if (source.Refused is { } refused)
                    return refused;
                if (source.Kind != TreeKind.Mapping)
                    return new Tree(TreeKind.Refused, source.Line, "merges (<<) what is no mapping");
                foreach (var (key, value) in source.Members.Where(m => m.Key != "<<" && keys.Add(m.Key)))
                    merged.Add(key, value);
            }
            return merged;
        }

        private int BytesOf(long start, long end) =>
            System.Text.Encoding.UTF8.GetByteCount(document.AsSpan((int)start, (int)(end - start)));

        private static Tree ScalarOf(Scalar scalar, int line) => scalar switch
        {
            { Style: not ScalarStyle.Plain } => new Tree(TreeKind.Text, line, scalar.Value),
            { Value: "" or "~" or "null" or "Null" or "NULL" } => new Tree(TreeKind.Null, line),
            _ => new Tree(TreeKind.Plain, line, scalar.Value),
        };

        private int LineOf(ParsingEvent at) => (int)at.Start.Line + lineOffset;
    }
}
