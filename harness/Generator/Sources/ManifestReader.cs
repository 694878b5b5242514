using System.Globalization;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Features;

namespace Conformance.Generator.Sources;

/// <summary>What a problem of the input means for what is served.</summary>
public enum ProblemEffect
{
    /// <summary>The object, or a part of a file, is left out.</summary>
    LeftOut,

    /// <summary>Only the value of the field is skipped; the object is used without it.</summary>
    WithoutValue,

    /// <summary>A service proxy does not need the object. It is reported all the same, because its kind may be misspelt.</summary>
    NotOurs,
}

/// <summary>An object, a value or a part of a file that is not used, and why.</summary>
/// <param name="File">The file, or the address of an API server's resource, where lines have no meaning and are 0.</param>
/// <param name="Field">Path of the field, such as spec.ports[0].port; empty when it is not about one.</param>
public sealed record InputProblem(string File, int Line, string Subject, string Field, string Message,
    ProblemEffect Effect = ProblemEffect.LeftOut)
{
    /// <summary>One line: what an object says cannot begin another, nor move the cursor of who reads it.</summary>
    public override string ToString() =>
        Printable.Of($"{File}{(Line > 0 ? $":{Line}" : "")}: {Subject} {Words}: {(Field.Length > 0 ? $"{Field} " : "")}{Message}");

    private string Words => Effect switch
    {
        ProblemEffect.LeftOut => "is left out",
        ProblemEffect.WithoutValue => "is used without a value",
        _ => "is skipped",
    };
}

/// <summary>What a file holds: a Service, EndpointSlice or NodeObject each, and what was left out.</summary>
public sealed record Manifest(IReadOnlyList<object> Objects, IReadOnlyList<InputProblem> Problems)
{
    /// <summary>The part that could not even be parsed, so that objects may be missing; null when all was read.</summary>
    public InputProblem? Torn { get; init; }

    /// <summary>Whether the input ends in the middle of a document.</summary>
    public bool IsTorn => Torn is not null;

    /// <summary>The objects that are there and invalid: of these the last good state is worth more than none.</summary>
    internal IReadOnlyList<ObjectKey> Invalid { get; init; } = [];
}

/// <summary>Reads manifests: YAML with several documents, JSON, and lists, as <c>kubectl get -o yaml|json</c> prints them.</summary>
public static class ManifestReader
{
    /// <param name="name">The file's name, for messages.</param>
    public static Manifest Read(string name, byte[] content)
    {
        var text = Decode(content);
        if (text.Span.Contains((byte)0))
        {
            var zero = new InputProblem(name, 1 + text.Span[..text.Span.IndexOf((byte)0)].Count((byte)'\n'), "this file", "",
                "has NUL bytes, as a file has after a power loss: no manifest does");
            return new Manifest([], [zero]) { Torn = zero };
        }
        var start = text.Span.TrimStart(" \t\r\n"u8);
        var json = start is [(byte)'{' or (byte)'[', ..] ? new Reading(name).ReadJson(text) : null;
        if (json is { IsTorn: false })
            return json;
        // What begins with a bracket may be YAML as well. Of what is neither, the reason is that of what it looks like.
        var yaml = new Reading(name).ReadYaml(System.Text.Encoding.UTF8.GetString(text.Span));
        return json is null || !yaml.IsTorn || (json.Objects.Count == 0 && start[1..]
            .TrimStart(" \t\r\n"u8) is not [(byte)'"' or (byte)'{' or (byte)'[' or (byte)'}' or (byte)']', ..]) ? yaml : json;
    }

    /// <summary>One way to read a text.</summary>
    private sealed class Reading(string name)
    {
        private const int MaxProblems = 1000;
        private readonly List<object> _objects = [];
        private readonly List<InputProblem> _problems = [];
        private readonly List<ObjectKey> _invalid = [];
        private readonly Dictionary<string, (InputProblem First, int Count)> _skipped = new(StringComparer.Ordinal);
        private int _invalidObjects;
        private InputProblem? _torn;

        internal Manifest ReadJson(ReadOnlyMemory<byte> text)
        {
            Try(1, "the rest of the file", () => JsonTrees.Read(text.Span, Handle));
            return Result();
        }

        internal Manifest ReadYaml(string text)
        {
            foreach (var (line, document) in YamlTrees.Documents(text))
            {
                if (!Try(line, "this document", () => YamlTrees.Read(document, line, Handle)))
                    break;
            }
            return Result();
        }

        private Manifest Result()
        {
            var problems = _problems.Take(MaxProblems).ToList();
            if (_problems.Count > MaxProblems)
                problems.Add(new InputProblem(name, 0, string.Create(CultureInfo.InvariantCulture,
                    $"what {_problems.Count - MaxProblems} more messages would tell"), "", $"the first {MaxProblems} say enough"));
            foreach (var (first, count) in _skipped.Values)
                problems.Add(count == 1 ? first
                    : first with
                    {
                        Message = string.Create(CultureInfo.InvariantCulture,
                    $"{first.Message}, as are {count - 1} more of its kind")
                    });
            if (_torn is not null)
                problems.Add(_torn);
            return new Manifest(_objects, problems) { Torn = _torn, Invalid = _invalid };
        }

        /// <returns>Whether the rest of the text is worth reading.</returns>
        private bool Try(int line, string subject, Action read)
        {
            try
            {
                read();
                return true;
            }
            catch (SyntaxException e)
            {
                Tear(e.Line, subject, e.Message);
                return _invalidObjects <= Limits.InvalidObjects;
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // a fault of the parser is a problem of this file, and of no other
                Tear(line, subject, $"cannot be parsed ({e.GetType().Name}: {e.Message})");
                return true;
            }
        }

        private void Tear(int line, string subject, string message)
        {
            if (_torn is not null)
                _problems.Add(_torn);
            _torn = new InputProblem(name, line, subject, "", message);
        }

        private void Handle(Tree tree, long size)
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
                else if (tree.Kind != TreeKind.Null)
                {
                    Add(tree, ObjectReader.Read(tree, values));
                }
            }
            catch (InvalidFieldException e)
            {
                if (++_invalidObjects > Limits.InvalidObjects)
                    throw new SyntaxException(e.Line, $"more than {Limits.InvalidObjects} objects are invalid: this is no manifest");
                _problems.Add(new InputProblem(name, e.Line, ObjectReader.Describe(tree), e.Field, e.Message));
                if (ObjectReader.KeyOf(tree) is { } key)
                    _invalid.Add(key);
                return;
            }
            _problems.AddRange(values.Select(v => new InputProblem(name, v.Line, ObjectReader.Describe(tree), v.Field, v.Message,
                ProblemEffect.WithoutValue)));
        }

        private void Add(Tree tree, object read)
        {
            if (read is not NotOurs skipped)
            {
                _objects.Add(read);
                return;
            }
            var kind = $"{skipped.Reason} {tree["apiVersion"]?.Text} {tree["kind"]?.Text}";
            _skipped[kind] = _skipped.TryGetValue(kind, out var known)
                ? known with { Count = known.Count + 1 }
                : (new InputProblem(name, tree.Line, ObjectReader.Describe(tree), "", skipped.Reason, ProblemEffect.NotOurs), 1);
        }
    }

    /// <summary>The text in UTF-8, without a byte order mark. PowerShell writes UTF-16, with one.</summary>
    private static ReadOnlyMemory<byte> Decode(byte[] content) => content switch
    {
        [0xef, 0xbb, 0xbf, ..] => content.AsMemory(3),
        [0xff, 0xfe, ..] => System.Text.Encoding.UTF8.GetBytes(System.Text.Encoding.Unicode.GetString(content, 2, content.Length - 2)),
        [0xfe, 0xff, ..] => System.Text.Encoding.UTF8.GetBytes(
            System.Text.Encoding.BigEndianUnicode.GetString(content, 2, content.Length - 2)),
        _ => content,
    };
}
