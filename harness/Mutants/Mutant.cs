using System.Text.RegularExpressions;
using Conformance.Generator.Sources;
using Conformance.Mutants.Faults;

namespace Conformance.Mutants;

/// <summary>A generator with one fault, as a row of mutants.yaml says.</summary>
/// <param name="Id">Its name, which is unique.</param>
/// <param name="What">What is wrong with it.</param>
/// <param name="Equivalent">Why no packet and no connection can show the fault; null for a mutant that a claim must see.</param>
internal sealed record Mutant(string Id, string What, string? Equivalent, Fault Fault)
{
    private const string File = "mutants.yaml";

    /// <summary>Every mutant, in the order of the file.</summary>
    internal static IReadOnlyList<Mutant> Load()
    {
        using var stream = typeof(Mutant).Assembly.GetManifestResourceStream(File)!;
        using var reader = new StreamReader(stream);
        return Read(reader.ReadToEnd());
    }

    /// <summary>Reads the text of such a file.</summary>
    /// <exception cref="SyntaxException">It is no YAML, or a row is not what <see cref="FaultKinds"/> says.</exception>
    internal static IReadOnlyList<Mutant> Read(string text)
    {
        var mutants = new List<Mutant>();
        YamlTrees.Read(text, 1, (file, _) =>
        {
            foreach (var (kind, rows) in file.Members)
                mutants.AddRange(rows.Items.SelectMany(row => FaultKinds.Of(kind, new Row(File, row))));
            if (mutants.GroupBy(m => m.Id, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1) is { } twice)
                throw new FormatException($"{File}: two mutants have the id {twice.Key}.");
        });
        return mutants;
    }
}

/// <summary>One row of mutants.yaml; it names what it has that nobody reads.</summary>
internal sealed class Row(string file, Tree tree)
{
    /// <exception cref="FormatException">The row does not have it.</exception>
    internal string this[string key] => Optional(key) ?? throw Invalid($"lacks '{key}'");

    internal string? Optional(string key) => tree[key]?.Text;

    /// <exception cref="FormatException">The row does not have it, or another word.</exception>
    internal string OneOf(string key, params string[] words) => words.Contains(this[key], StringComparer.Ordinal) ? this[key]
        : throw Invalid($"has '{key}: {this[key]}', which must be one of {string.Join(", ", words)}");

    /// <exception cref="FormatException">The row does not have it, or it is no regular expression.</exception>
    internal Regex Pattern(string key)
    {
        try
        {
            return new Regex(this[key], RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1));
        }
        catch (RegexParseException e)
        {
            throw Invalid($"has '{key}: {this[key]}', which is no regular expression: {e.Message}");
        }
    }

    internal IReadOnlyList<string> List(string key) => [.. (tree[key]?.Items ?? []).Select(i => i.Text)];

    /// <exception cref="FormatException">The row has another key.</exception>
    internal void Allow(params string[] keys)
    {
        if (tree.Members.FirstOrDefault(m => !keys.Contains(m.Key, StringComparer.Ordinal)) is { Key: not null } other)
            throw Invalid($"has '{other.Key}', and may have {string.Join(", ", keys)}");
    }

    internal FormatException Invalid(string message) => new($"{file}:{tree.Line}: the row {message}.");
}
