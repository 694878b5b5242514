using System.Text.RegularExpressions;

namespace Conformance.Generator.Objects;

/// <summary>Schedulers by name; which of them a kernel has, only the kernel knows.</summary>
public static partial class Schedulers
{
    /// <summary>Whether a text can be a scheduler's name (IP_VS_SCHEDNAME_MAXLEN in linux/ip_vs.h), and so stand in a command.</summary>
    public static bool IsName(string text) => Name().IsMatch(text);

    [GeneratedRegex(@"\A[a-z][a-z0-9_]{0,14}\z", RegexOptions.None, 1000)]
    private static partial Regex Name();
}
