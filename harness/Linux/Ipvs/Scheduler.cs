using System.Text.RegularExpressions;

namespace Conformance.Linux.Ipvs;

/// <summary>Schedulers by their names in ipvsadm(8). Each is a module that a kernel may lack.</summary>
public static partial class Scheduler
{
    /// <summary>Round robin.</summary>
    public const string RoundRobin = "rr";

    /// <summary>Maglev hashing.</summary>
    public const string MaglevHashing = "mh";

    /// <summary>Whether a text can be a scheduler's name (IP_VS_SCHEDNAME_MAXLEN in linux/ip_vs.h), and so stand in a command.</summary>
    public static bool IsName(string text) => Name().IsMatch(text);

    [GeneratedRegex(@"\A[a-z][a-z0-9_]{0,14}\z", RegexOptions.None, 1000)]
    private static partial Regex Name();
}
