using Conformance.Generator.Objects;

namespace Conformance.Generator.Input;

/// <summary>An object, or a part of a file, that was left out, and why.</summary>
/// <param name="File">The file, or the address of an API server's resource, where lines have no meaning and are 0.</param>
/// <param name="Field">Path of the field, such as spec.ports[0].port; empty when it is not about one.</param>
public sealed record InputProblem(string File, int Line, string Subject, string Field, string Message)
{
    /// <summary>Whether only the value of the field was skipped, and the object is used without it.</summary>
    public bool IsOfValue { get; init; }

    /// <summary>One line: what an object says cannot begin another, nor move the cursor of who reads it.</summary>
    public override string ToString() => Printable.Of($"{File}{(Line > 0 ? $":{Line}" : "")}: {Subject} {(IsOfValue ? "is used without a value" : "is left out")}: {(Field.Length > 0 ? $"{Field} " : "")}{Message}");
}

/// <summary>What a file holds: a Service, EndpointSlice or NodeObject each, and what was left out.</summary>
/// <param name="IsTorn">Whether a part could not even be parsed, so that objects may be missing.</param>
public sealed record Manifest(IReadOnlyList<object> Objects, IReadOnlyList<InputProblem> Problems, bool IsTorn)
{
    /// <summary>The objects that are there and invalid: of these the last good state is worth more than none.</summary>
    internal IReadOnlyList<ObjectKey> Invalid { get; init; } = [];
}

/// <summary>Reads manifests: YAML with several documents, JSON, and lists, as <c>kubectl get -o yaml|json</c> prints them.</summary>
public static class ManifestReader
{
    /// <param name="name">The file's name, for messages.</param>
    public static Manifest Read(string name, byte[] content)
    {
        var objects = new List<object>();
        var problems = new List<InputProblem>();
        var invalid = new List<ObjectKey>();
        var torn = false;
        var text = Decode(content);
        if (text.Span.Contains((byte)0))
        {
            problems.Add(new InputProblem(name, 1 + text.Span[..text.Span.IndexOf((byte)0)].Count((byte)'\n'), "this file", "", "has NUL bytes, as a file has after a power loss: no manifest does"));
            return new Manifest(objects, problems, IsTorn: true);
        }
        if (LooksLikeJson(text.Span))
        {
            Try(1, "the rest of the file", () => JsonTrees.Read(text.Span, Handle));
            return new Manifest(objects, problems, torn) { Invalid = invalid };
        }
        foreach (var (line, document) in YamlTrees.Documents(System.Text.Encoding.UTF8.GetString(text.Span)))
            Try(line, "this document", () => YamlTrees.Read(document, line, Handle));
        return new Manifest(objects, problems, torn) { Invalid = invalid };

        void Try(int line, string subject, Action read)
        {
            try
            {
                read();
            }
            catch (SyntaxException e)
            {
                torn = true;
                problems.Add(new InputProblem(name, e.Line, subject, "", e.Message));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                torn = true; // a fault of the parser is a problem of this file, and of no other
                problems.Add(new InputProblem(name, line, subject, "", $"cannot be parsed ({e.GetType().Name}: {e.Message})"));
            }
        }

        void Handle(Tree tree, long size)
        {
            var values = new List<InvalidFieldException>();
            try
            {
                if (size > Limits.Bytes)
                    throw new InvalidFieldException(tree.Line, "", $"is larger than {Limits.Bytes} bytes");
                if (tree.Refused is { } refused)
                    throw new InvalidFieldException(refused.Line, "", refused.Text);
                if (ObjectReader.ItemsOf(tree) is { } items)
                {
                    foreach (var item in items)
                        Handle(item, 0);
                }
                else if (tree.Kind != TreeKind.Null && ObjectReader.Read(tree, values) is { } read)
                {
                    objects.Add(read);
                }
            }
            catch (InvalidFieldException e)
            {
                problems.Add(new InputProblem(name, e.Line, ObjectReader.Describe(tree), e.Field, e.Message));
                if (ObjectReader.KeyOf(tree) is { } key)
                    invalid.Add(key);
                return;
            }
            problems.AddRange(values.Select(v => new InputProblem(name, v.Line, ObjectReader.Describe(tree), v.Field, v.Message) { IsOfValue = true }));
        }
    }

    /// <summary>The text in UTF-8, without a byte order mark. PowerShell writes UTF-16, with one.</summary>
    private static ReadOnlyMemory<byte> Decode(byte[] content) => content switch
    {
        [0xef, 0xbb, 0xbf, ..] => content.AsMemory(3),
        [0xff, 0xfe, ..] => System.Text.Encoding.UTF8.GetBytes(System.Text.Encoding.Unicode.GetString(content, 2, content.Length - 2)),
        [0xfe, 0xff, ..] => System.Text.Encoding.UTF8.GetBytes(System.Text.Encoding.BigEndianUnicode.GetString(content, 2, content.Length - 2)),
        _ => content,
    };

    private static bool LooksLikeJson(ReadOnlySpan<byte> content)
    {
        var start = content.TrimStart(" \t\r\n"u8);
        return start.Length > 0 && start[0] is (byte)'{' or (byte)'[';
    }
}
