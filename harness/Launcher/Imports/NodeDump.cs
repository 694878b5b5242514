using System.Net;

namespace Conformance.Launcher.Imports;

/// <summary>A line that was not understood, or that the kernel refused.</summary>
/// <param name="Place">File and line.</param>
internal sealed record DumpProblem(string Place, string Text, string Reason);

/// <summary>A line of the state, in the words of the tool that loads it.</summary>
internal sealed record DumpLine(string Place, string Text);

/// <summary>An address of a device, as <c>10.0.0.1/24</c>.</summary>
internal sealed record DumpAddress(string Device, string Address);

/// <summary>The state of a node, as its tools have printed it. Each part may be missing.</summary>
internal sealed record NodeDump
{
    /// <summary>Lines for <c>ipvsadm -R</c>: virtual servers, each followed by its real servers.</summary>
    public List<DumpLine> Ipvs { get; init; } = [];

    /// <summary>Lines for <c>ipset restore</c>.</summary>
    public List<DumpLine> Sets { get; init; } = [];

    /// <summary>Lines for <c>iptables-restore</c>.</summary>
    public List<DumpLine> Rules { get; init; } = [];

    /// <summary>Lines for <c>ip6tables-restore</c>.</summary>
    public List<DumpLine> Rules6 { get; init; } = [];

    public List<DumpAddress> Addresses { get; init; } = [];

    /// <summary>The device of the default route; null when none was seen.</summary>
    public string? MainDevice { get; set; }

    /// <summary>Lines for <c>ip route add</c>: only what leads nowhere, since all else leads to stubs.</summary>
    public List<DumpLine> Routes { get; init; } = [];

    /// <summary>Settings as <c>net.ipv4.ip_forward=1</c>.</summary>
    public List<DumpLine> Sysctls { get; init; } = [];

    public List<DumpProblem> Problems { get; init; } = [];

    /// <summary>The addresses of virtual servers by address; firewall marks have none.</summary>
    public SortedSet<string> VirtualAddresses { get; init; } = new(StringComparer.Ordinal);

    /// <summary>The addresses of real servers.</summary>
    public SortedSet<string> RealAddresses { get; init; } = new(StringComparer.Ordinal);

    /// <summary>Whether a real server is reached by direct routing or tunnelling, and so must own the virtual addresses.</summary>
    public bool SharesVirtualAddresses { get; set; }

    internal bool IsEmpty => Ipvs.Count + Sets.Count + Rules.Count + Rules6.Count == 0;

    /// <summary>Whether a device of the node has an address.</summary>
    internal bool Owns(IPAddress address) => Addresses.Exists(a => IPAddress.TryParse(a.Address.Split('/')[0], out var own)
        && own.Equals(address));

    /// <summary>What is in it, in words.</summary>
    internal string Describe() => string.Join(", ", new[]
    {
        (Ipvs.Count(l => l.Text.StartsWith("-A", StringComparison.Ordinal)), "virtual servers"),
        (Ipvs.Count(l => l.Text.StartsWith("-a", StringComparison.Ordinal)), "real servers"),
        (Sets.Count(l => l.Text.StartsWith("create", StringComparison.Ordinal)), "sets"),
        (Rules.Concat(Rules6).Count(l => l.Text[0] is '-' or '['), "rules"),
        (Addresses.Count, "addresses"), (Sysctls.Count, "settings"),
    }.Select(p => $"{p.Item1} {p.Item2}"));
}
