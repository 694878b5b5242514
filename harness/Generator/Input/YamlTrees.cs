using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Conformance.Generator.Input;

/// <summary>Reads the objects of a YAML text: its documents, and the items of a <c>List</c> each by itself.</summary>
internal static class YamlTrees
{
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
                yield return (firstLine, text[start..at]);
                (start, firstLine) = (at, line);
            }
            at = next;
        }
        if (start < text.Length)
            yield return (firstLine, text[start..]);
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

    /// <param name="handle">Told of each object and of its size in bytes.</param>
    /// <exception cref="SyntaxException">The document cannot be read.</exception>
    internal static void Read(string document, int firstLine, Action<Tree, long> handle)
    {
        try
        {
            var parser = new ShallowParser(new Parser(new Scanner(new StringReader(document), skipComments: true)));
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
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or FormatException or OverflowException or IndexOutOfRangeException)
        {
            // What the parser throws on some unclosed brackets, and on escapes of no character.
            throw new SyntaxException(firstLine, e.Message);
        }
    }

    /// <summary>The parser's time grows with the square of the depth of brackets: it is not let deeper than what takes a moment.</summary>
    private sealed class ShallowParser(Parser parser) : IParser
    {
        private const int MaxDepth = 5000;
        private int _depth;

        public ParsingEvent? Current => parser.Current;

        public bool MoveNext()
        {
            var moved = parser.MoveNext();
            _depth += moved ? parser.Current!.NestingIncrease : 0;
            return _depth <= MaxDepth ? moved : throw new YamlException(parser.Current!.Start, parser.Current.End, $"nested more than {MaxDepth} levels deep");
        }
    }

    private sealed class DocumentReader(IParser parser, string document, int lineOffset)
    {
        private readonly Dictionary<string, (Tree Tree, int Values)> _anchors = new(StringComparer.Ordinal);
        private int _values;
        private long _aliasValues;

        internal void ReadTop(Action<Tree, long> handle)
        {
            var start = parser.Current!.Start.Index;
            if (parser.Accept<MappingStart>(out _))
            {
                var mapping = parser.Consume<MappingStart>();
                var tree = new Tree(TreeKind.Mapping, LineOf(mapping));
                var isList = false;
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
                var end = parser.Consume<MappingEnd>().End.Index;
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
                return Counted(target.Values) ?? (depth + target.Tree.Height > Limits.Depth ? TooDeep() : target.Tree);
            }
            var before = _values;
            if (Counted(1) is { } refused)
            {
                parser.SkipThisAndNestedEvents();
                return refused;
            }
            if (depth >= Limits.Depth && !parser.Accept<Scalar>(out _))
            {
                parser.SkipThisAndNestedEvents();
                return TooDeep();
            }
            var anchor = (parser.Current as NodeEvent)?.Anchor ?? AnchorName.Empty;
            Tree tree;
            if (parser.TryConsume<Scalar>(out var scalar))
            {
                tree = ScalarOf(scalar, line);
            }
            else if (parser.TryConsume<SequenceStart>(out _))
            {
                tree = new Tree(TreeKind.Sequence, line);
                while (!parser.TryConsume<SequenceEnd>(out _))
                    tree.Add(Read(depth + 1));
            }
            else
            {
                parser.Consume<MappingStart>();
                tree = new Tree(TreeKind.Mapping, line);
                while (!parser.TryConsume<MappingEnd>(out _))
                {
                    var key = Read(depth + 1);
                    var value = Read(depth + 1);
                    if (key.Kind is TreeKind.Text or TreeKind.Plain)
                        tree.Add(key.Text, value);
                }
                tree = Merged(tree);
            }
            if (!anchor.IsEmpty)
                _anchors[anchor.Value] = (tree, _values - before);
            return tree;

            Tree TooDeep() => new(TreeKind.Refused, line, $"nested more than {Limits.Depth} levels deep");

            Tree? Counted(int count)
            {
                _values += count;
                return _values > Limits.Values ? new Tree(TreeKind.Refused, line, $"has more than {Limits.Values} values, aliases expanded") : null;
            }
        }

        /// <summary>A mapping with what its merge key (&lt;&lt;) names besides: the type "merge" of YAML 1.1, as kubectl reads it.</summary>
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

        private int BytesOf(long start, long end) => System.Text.Encoding.UTF8.GetByteCount(document.AsSpan((int)start, (int)(end - start)));

        private static Tree ScalarOf(Scalar scalar, int line) => scalar switch
        {
            { Style: not ScalarStyle.Plain } => new Tree(TreeKind.Text, line, scalar.Value),
            { Value: "" or "~" or "null" or "Null" or "NULL" } => new Tree(TreeKind.Null, line),
            _ => new Tree(TreeKind.Plain, line, scalar.Value),
        };

        private int LineOf(ParsingEvent at) => (int)at.Start.Line + lineOffset;
    }
}
