using Conformance.Linux;

namespace Conformance.Clusters.Kubernetes;

/// <summary>
/// Label and field selectors (Kubernetes documentation, "Labels and Selectors"): what proxies ask with, not sets of values.
/// </summary>
internal sealed class Selector
{
    private readonly List<Func<StoredObject, bool>> _requirements = [];

    /// <exception cref="FormatException">It is a form that is not supported.</exception>
    internal static Selector Parse(string? ns, string labels, string fields)
    {
        var selector = new Selector();
        if (ns is not null)
            selector._requirements.Add(o => o.Namespace == ns);
        foreach (var requirement in Split(labels))
            selector._requirements.Add(Label(requirement));
        foreach (var requirement in Split(fields))
            selector._requirements.Add(Field(requirement));
        return selector;
    }

    internal bool Matches(StoredObject item) => _requirements.TrueForAll(r => r(item));

    private static Func<StoredObject, bool> Label(string requirement)
    {
        if (requirement.Contains('(', StringComparison.Ordinal) || requirement.Contains(' ', StringComparison.Ordinal))
            throw new FormatException($"The label selector '{requirement}' is not supported.");
        if (requirement[0] == '!')
            return o => !o.Labels.ContainsKey(requirement[1..]);
        var (key, equal, value) = Equation(requirement);
        return equal switch
        {
            null => o => o.Labels.ContainsKey(key),
            true => o => o.Labels.GetValueOrDefault(key) == value,
            false => o => o.Labels.GetValueOrDefault(key) != value,
        };
    }

    private static Func<StoredObject, bool> Field(string requirement) => Equation(requirement) switch
    {
        ("metadata.name", true, var value) => o => o.Name == value,
        ("metadata.namespace", true, var value) => o => o.Namespace == value,
        _ => throw new FormatException($"The field selector '{requirement}' is not supported."),
    };

    private static (string Key, bool? IsEqual, string Value) Equation(string requirement)
    {
        var at = requirement.IndexOf('=', StringComparison.Ordinal);
        if (at < 0)
            return (requirement, null, "");
        return requirement[at - 1] == '!' ? (requirement[..(at - 1)], false, requirement[(at + 1)..])
            : (requirement[..at], true, requirement[(at + 1)..].TrimStart('='));
    }

    private static string[] Split(string text) => text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
