using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Iptables;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>A virtual server that the kernel has, with its real servers.</summary>
public sealed class LiveServer(VirtualServer service)
{
    /// <summary>The virtual server.</summary>
    public VirtualServer Service { get; set; } = service;

    /// <summary>Its real servers.</summary>
    public Dictionary<RealServerKey, RealServer> RealServers { get; } = [];
}

/// <summary>How an address is bound: a program that is not ours may have given it another network, or let it be a source.</summary>
public readonly record struct BoundAddress(int PrefixLength, bool IsSource)
{
    /// <summary>
    /// As the generator binds a virtual address: without a network, and never the source of the node's own packets. kube-proxy lets it be
    /// one.
    /// </summary>
    public static BoundAddress Of(IPAddress address, bool isCompatible) => new(address.GetAddressBytes().Length * 8, isCompatible);
}

/// <summary>
/// The part of the kernel's state that the generator manages: read once, and kept up to date with what is written, so that
/// a change need not read anything. The drift check reads it again.
/// </summary>
public sealed class LiveState
{
    /// <summary>A state of which nothing is known.</summary>
    public static LiveState Empty => new() { Servers = [], Iptables = LiveRules.Parse(""), Ip6tables = LiveRules.Parse("") };

    /// <summary>The virtual servers that are known by address.</summary>
    public required Dictionary<VirtualServerKey, LiveServer> Servers { get; init; }

    /// <summary>Our sets and kube-proxy's, by name.</summary>
    public Dictionary<string, HashSet<IpsetEntry>> Sets { get; } = new(StringComparer.Ordinal);

    /// <summary>Sets of our names that have another type than ours: they cannot be used.</summary>
    public Dictionary<string, string> ForeignTypes { get; } = new(StringComparer.Ordinal);

    /// <summary>The addresses of kube-ipvs0, each with the forms in which it is there; null when there is no such device.</summary>
    public Dictionary<IPAddress, List<BoundAddress>>? Bound { get; set; }

    /// <summary>The rules of both families.</summary>
    public required LiveRules Iptables { get; set; }

    /// <summary>The rules of IPv6.</summary>
    public required LiveRules Ip6tables { get; set; }

    /// <summary>The values of the sysctls that are to be set.</summary>
    public Dictionary<string, string> Sysctls { get; } = new(StringComparer.Ordinal);

    /// <summary>The time-outs of IPVS.</summary>
    public IpvsTimeouts Timeouts { get; set; } = new(0, 0, 0);

    internal void TakeSets(LiveState other)
    {
        foreach (var (name, entries) in other.Sets)
            Sets[name] = entries;
        foreach (var (name, type) in other.ForeignTypes)
            ForeignTypes[name] = type;
    }

    /// <summary>The rules of a family.</summary>
    public LiveRules Rules(bool ipv6) => ipv6 ? Ip6tables : Iptables;
}

/// <summary>The rules of one family, by table and chain, in order, as iptables-save prints them.</summary>
public sealed class LiveRules
{
    private readonly Dictionary<(string Table, string Chain), List<string>> _chains = [];

    /// <summary>Whether a table has a chain.</summary>
    public bool HasChain(string table, string chain) => _chains.ContainsKey((table, chain));

    /// <summary>The rules of a chain in order; empty when there is no such chain.</summary>
    public IReadOnlyList<string> Of(string table, string chain) => _chains.GetValueOrDefault((table, chain), []);

    /// <summary>All chains.</summary>
    public IEnumerable<(string Table, string Chain)> Chains => _chains.Keys;

    /// <summary>Chains of kube-proxy's iptables mode that are still there.</summary>
    public IEnumerable<(string Table, string Chain)> LeftoverChains() => Chains.Where(c => Leftovers.Has(c.Table, c.Chain));

    /// <summary>Rules of other chains that lead into these.</summary>
    public IEnumerable<(string Table, string From, string Rule)> LeftoverJumps() => JumpsInto(Leftovers.Has);

    /// <summary>Rules that lead from chains outside a group into the group.</summary>
    public IEnumerable<(string Table, string From, string Rule)> JumpsInto(Func<string, string, bool> isOfGroup) =>
        _chains.Where(c => !isOfGroup(c.Key.Table, c.Key.Chain))
        .SelectMany(c => c.Value.Where(r => isOfGroup(c.Key.Table, Rule.TargetOf(r))).Select(r => (c.Key.Table, c.Key.Chain, r)));

    /// <summary>What the kernel has after a rule set has been written, its jumps included.</summary>
    /// <param name="removesLeftovers">Whether the document has also removed chains of kube-proxy's iptables mode.</param>
    public void Become(RuleSet rules, bool removesLeftovers)
    {
        if (removesLeftovers)
        {
            foreach (var (table, chain) in LeftoverChains().ToList())
                _chains.Remove((table, chain));
            foreach (var (table, from, rule) in LeftoverJumps().ToList())
                _chains[(table, from)].Remove(rule);
        }
        foreach (var (table, chain) in RuleSet.Chains)
            _chains[(table, chain)] = [];
        foreach (var (table, chain, rule) in rules.Rules)
            _chains[(table, chain)].Add(rule);
        foreach (var group in RuleSet.Jumps.GroupBy(j => (j.Table, j.From)))
        {
            var lines = _chains.TryGetValue(group.Key, out var found) ? found : _chains[group.Key] = [];
            lines.InsertRange(0, group.Select(j => j.Rule).Where(r => !lines.Contains(r, StringComparer.Ordinal)).ToList());
        }
    }

    /// <summary>Parses the output of iptables-save or ip6tables-save.</summary>
    public static LiveRules Parse(string save)
    {
        var saved = SavedRules.Parse(save);
        var rules = new LiveRules();
        foreach (var (table, chain) in saved.Chains)
            rules._chains[(table, chain)] = [.. saved.Of(table, chain).Select(r => r.Text)];
        return rules;
    }
}
