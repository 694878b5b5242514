using Conformance.Linux.Namespaces;
using Conformance.Linux.Processes;

namespace Conformance.Linux.Iptables;

/// <summary>
/// The programs of one of Debian's two variants of iptables, which keep their rules in different parts of the kernel.
/// A kernel may support only one of them.
/// </summary>
/// <param name="Suffix">Empty for the machine's default, else "-legacy" or "-nft".</param>
/// <param name="HasIPv6">Whether its ip6tables works on this kernel; where it does not, only IPv4 is served.</param>
public sealed record IptablesVariant(string Suffix, bool HasIPv6)
{
    private const string LegacyProgram = "xtables-legacy-multi"; // all of iptables-legacy's names are links to it

    private const string ProbeHere = "*nat\n:IPVS-GENERATOR-PROBE - [0:0]\n-A IPVS-GENERATOR-PROBE -j RETURN\n" +
        "-F IPVS-GENERATOR-PROBE\n-X IPVS-GENERATOR-PROBE\nCOMMIT\n";

    private const int NotPermitted = 1; // EPERM of errno(3)
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    /// <summary>The same after another look whether its ip6tables works: what failed once (a lock, memory) may work now.</summary>
    public IptablesVariant ProbeIPv6() => HasIPv6 ? this : this with { HasIPv6 = Works($"ip6tables{Suffix}", path: null) };

    /// <summary>
    /// Whether the rules of each family are known to be those of the kernel's own tables, and not of nf_tables. The two families are
    /// alternatives of their own in Debian.
    /// </summary>
    private (bool IPv4, bool IPv6) IsLegacy { get; init; }

    /// <summary>Whether a namespace may have rules; where it has none for sure, the program need not be started.</summary>
    public bool MayHaveRules(NetworkNamespace ns, bool ipv6) =>
        !(ipv6 ? IsLegacy.IPv6 : IsLegacy.IPv4) || LegacyTables.AnyIn(ns, ipv6);

    /// <summary>The program that prints the rules: <c>iptables-save</c> or <c>ip6tables-save</c> with the suffix.</summary>
    public string Save(bool ipv6) => $"{Base(ipv6)}-save";

    /// <summary>The program that loads rules: <c>iptables-restore</c> or <c>ip6tables-restore</c> with the suffix.</summary>
    public string Restore(bool ipv6) => $"{Base(ipv6)}-restore";

    /// <summary>
    /// The default where it works on this kernel, else legacy, else nft; the default where none does: its first use says why.
    /// </summary>
    /// <param name="path">The PATH in which the programs are looked up; null for this process's own.</param>
    public static IptablesVariant Choose(string? path = null)
    {
        foreach (var suffix in new[] { "", "-legacy", "-nft" })
        {
            if (Works($"iptables{suffix}", path))
            {
                return new IptablesVariant(suffix, Works($"ip6tables{suffix}", path))
                {
                    IsLegacy = (IsLegacyProgram($"iptables{suffix}-save", path), IsLegacyProgram($"ip6tables{suffix}-save", path))
                };
            }
        }
        return new IptablesVariant("", HasIPv6: true);
    }

    /// <summary>Whether a program of that name is the first in PATH, and iptables-legacy's.</summary>
    private static bool IsLegacyProgram(string iptables, string? path) =>
        (path ?? Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(f => Path.Combine(f, iptables))
            .FirstOrDefault(File.Exists) is { } program
        && Path.GetFileName(File.ResolveLinkTarget(program, returnFinalTarget: true)?.FullName) == LegacyProgram;

    /// <summary>
    /// Adds a rule in a namespace made for it. Listing would prove nothing: iptables-nft lists an empty table on kernels where it cannot
    /// add a rule. Who may make no namespace, as a container with few capabilities, adds it in the one that it is in, to a chain that no
    /// packet passes, and deletes both in the same step.
    /// </summary>
    private static bool Works(string iptables, string? path)
    {
        NetworkNamespace made;
        try
        {
            made = NetworkNamespace.Create("iptables-probe");
        }
        catch (KernelException e) when (e.Errno == NotPermitted)
        {
            return Succeeds([$"{iptables}-restore", "--wait", "5", "--noflush"], ProbeHere, null, path);
        }
        using var probe = made;
        if (IsLegacyProgram(iptables, path) && LegacyTables.HasNat(probe, iptables.StartsWith("ip6", StringComparison.Ordinal)))
            return true;
        return Succeeds([iptables, "-t", "nat", "-A", "POSTROUTING", "-j", "RETURN"], null, probe, path);
    }

    private static bool Succeeds(string[] command, string? input, NetworkNamespace? ns, string? path)
    {
        try
        {
            return Tool.Run(command, input, s_limit, CancellationToken.None, ns,
                path is null ? null : new Dictionary<string, string?>(StringComparer.Ordinal) { ["PATH"] = path }).ExitCode == 0;
        }
        catch (Exception e) when (e is KernelException or OperationCanceledException)
        {
            return false;
        }
    }

    private string Base(bool ipv6) => $"{(ipv6 ? "ip6tables" : "iptables")}{Suffix}";
}
