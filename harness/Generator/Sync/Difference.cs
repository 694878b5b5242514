using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Iptables;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>
/// What differs between the kernel and the desired state: the second half of the story. It is compared in whole at the
/// start and by the drift check, and otherwise only for what a change of objects touched.
/// </summary>
public sealed class Difference
{
    private readonly DesiredState _desired;
    private readonly LiveState _live;
    private readonly NodeState _node;

    private Difference(DesiredState desired, LiveState live, NodeState node) => (_desired, _live, _node) = (desired, live, node);

    /// <summary>Sysctls with another value.</summary>
    public List<SysctlSetting> Sysctls { get; } = [];

    /// <summary>Sets that are missing.</summary>
    public List<SetKey> CreatedSets { get; } = [];

    /// <summary>Sets that are not wanted.</summary>
    public List<string> DestroyedSets { get; } = [];

    /// <summary>Set entries that are missing.</summary>
    public Dictionary<SetKey, List<IpsetEntry>> AddedEntries { get; } = [];

    /// <summary>Set entries that are not wanted.</summary>
    public Dictionary<SetKey, List<IpsetEntry>> DeletedEntries { get; } = [];

    /// <summary>The documents for iptables-restore --noflush, of the families whose rules differ.</summary>
    internal List<RestoreRules> Restored { get; } = [];

    /// <summary>Whether kube-ipvs0 is missing.</summary>
    public bool AddsDevice { get; private set; }

    /// <summary>Addresses that are missing on kube-ipvs0.</summary>
    public List<IPAddress> Bound { get; } = [];

    /// <summary>Addresses that go.</summary>
    public List<(IPAddress Address, int PrefixLength)> Unbound { get; } = [];

    /// <summary>Forms of addresses that are bound otherwise than they should be: they go directly before they are bound rightly.</summary>
    public List<(IPAddress Address, int PrefixLength)> Rebound { get; } = [];

    /// <summary>Virtual servers that are missing.</summary>
    public List<VirtualServer> AddedServers { get; } = [];

    /// <summary>Virtual servers with another scheduler, flag or persistence.</summary>
    public List<VirtualServer> EditedServers { get; } = [];

    /// <summary>Virtual servers that are not wanted.</summary>
    public List<VirtualServerKey> DeletedServers { get; } = [];

    /// <summary>Real servers that are missing.</summary>
    public List<(VirtualServerKey Key, RealServer Real)> AddedReals { get; } = [];

    /// <summary>Real servers with another weight or forwarding method.</summary>
    public List<(VirtualServerKey Key, RealServer Real)> EditedReals { get; } = [];

    /// <summary>Real servers that go; those of TCP with connections only when these have ended.</summary>
    public List<(VirtualServerKey Key, RealServer Real)> RemovedReals { get; } = [];

    /// <summary>Real servers that drain already: no difference, until their last connection has ended.</summary>
    public List<(VirtualServerKey Key, RealServerKey Real)> Draining { get; } = [];

    /// <summary>The time-outs of IPVS to set; null when they are right.</summary>
    public IpvsTimeouts? Timeouts { get; private set; }

    /// <summary>Compares everything.</summary>
    /// <param name="areTablesKnown">Whether virtual servers and sets are known to be as desired, and only the rest is compared.</param>
    public static Difference Of(DesiredState desired, LiveState live, NodeState node, bool areTablesKnown = false)
    {
        var difference = new Difference(desired, live, node);
        difference.CompareSettings();
        difference.CompareRules();
        foreach (var address in desired.BoundAddresses.Union(live.Bound?.Keys ?? Enumerable.Empty<IPAddress>()))
            difference.CompareAddress(address);
        if (areTablesKnown)
            return difference;
        difference.CompareSets();
        foreach (var key in desired.ServerKeys.Union(live.Servers.Keys))
            difference.CompareServer(key);
        return difference;
    }

    /// <summary>Compares what was touched.</summary>
    public static Difference Of(DesiredState desired, LiveState live, NodeState node, Touched touched)
    {
        var difference = new Difference(desired, live, node);
        foreach (var member in touched.Members)
            difference.CompareEntry(member.Set, member.Entry);
        if (touched.Rules)
            difference.CompareRules();
        // Of every server: its address is not bound while the kernel refuses all servers there, and this may be the first that it takes.
        foreach (var address in touched.Addresses)
            difference.CompareAddress(address);
        if (touched.Servers.Any(k => k.IsIPv6))
            difference.CompareSettings(); // forwarding of IPv6 comes with its first Service
        foreach (var key in touched.Servers)
            difference.CompareServer(key);
        return difference;
    }

    private void CompareSettings()
    {
        Sysctls.AddRange(_desired.Sysctls.Where(s => _live.Sysctls.TryGetValue(s.Name, out var value) && !s.IsMetBy(value)));
        var options = _desired.Options;
        var wanted = new IpvsTimeouts(
            options.IpvsTcpTimeoutSeconds == 0 ? _live.Timeouts.Tcp : options.IpvsTcpTimeoutSeconds,
            options.IpvsTcpFinTimeoutSeconds == 0 ? _live.Timeouts.TcpFin : options.IpvsTcpFinTimeoutSeconds,
            options.IpvsUdpTimeoutSeconds == 0 ? _live.Timeouts.Udp : options.IpvsUdpTimeoutSeconds);
        if (wanted != _live.Timeouts)
            Timeouts = wanted;
        AddsDevice = _live.Bound is null;
    }

    private void CompareSets()
    {
        var wanted = Decisions.Sets.Of(_desired.Options);
        foreach (var set in Decisions.Sets.All)
        {
            foreach (var key in new[] { new SetKey(set, false), new SetKey(set, true) })
            {
                var isThere = _live.Sets.TryGetValue(key.Name, out var entries);
                if (!wanted.Contains(set))
                {
                    if (isThere)
                        DestroyedSets.Add(key.Name);
                    continue;
                }
                if (_live.ForeignTypes.TryGetValue(key.Name, out var type))
                {
                    throw new GeneratorException($"The set {key.Name} is there with another type.", $"It is {type}.",
                        "Nothing was done: its rules would not mean what they should.",
                        $"If nobody uses it: ipset destroy {key.Name}");
                }
                if (!isThere)
                    CreatedSets.Add(key);
                foreach (var entry in _desired.Entries(key))
                {
                    if (entries is null || !entries.Contains(entry))
                        Put(AddedEntries, key, entry);
                }
                foreach (var entry in entries ?? [])
                {
                    if (!_desired.Contains(new SetMember(key, entry)))
                        Put(DeletedEntries, key, entry);
                }
            }
        }
    }

    private void CompareEntry(SetKey key, IpsetEntry entry)
    {
        var isThere = _live.Sets.TryGetValue(key.Name, out var entries) && entries.Contains(entry);
        if (_desired.Contains(new SetMember(key, entry)) != isThere)
            Put(isThere ? DeletedEntries : AddedEntries, key, entry);
    }

    private void CompareRules()
    {
        foreach (var ipv6 in _node.ServesIPv6 ? new[] { false, true } : [false])
        {
            var rules = new RuleSet(_desired, _node, ipv6);
            var changes = RuleChanges.Of(rules, _live.Rules(ipv6), ipv6, removesLeftovers: !_desired.Options.CompatKubeProxy);
            if (changes.List.Count > 0)
                Restored.Add(new RestoreRules(rules, ipv6, changes.Document, changes.List));
        }
    }

    private void CompareAddress(IPAddress address)
    {
        var there = _live.Bound?.GetValueOrDefault(address) ?? [];
        if (_desired.IsBound(address))
        {
            var right = BoundAddress.Of(address, _desired.Options.CompatKubeProxy);
            if (!there.Contains(right))
                Bound.Add(address);
            Rebound.AddRange(there.Where(a => a != right).Select(a => (address, a.PrefixLength)));
        }
        // kube-proxy takes addresses away even in networks that are excluded.
        else if (_desired.Options.CompatKubeProxy || !_desired.Options.IsExcluded(address))
        {
            Unbound.AddRange(there.Select(a => (address, a.PrefixLength)));
        }
    }

    private void CompareServer(VirtualServerKey key)
    {
        var wanted = _desired.Server(key);
        _live.Servers.TryGetValue(key, out var live);
        if (wanted is null)
        {
            if (live is not null && !_desired.Options.IsExcluded(key.Address))
                DeletedServers.Add(key);
            return;
        }
        var service = wanted.Server;
        if (live is null)
            AddedServers.Add(service);
        else if (live.Service != service)
            EditedServers.Add(service);

        foreach (var real in wanted.RealServers)
        {
            var destination = new RealServer(real.Address, real.Port, ForwardingMethod.Masq, 1);
            if (live is null || !live.RealServers.TryGetValue(real, out var there))
                AddedReals.Add((key, destination));
            else if (there.Weight != 1 || there.Method is not (ForwardingMethod.Masq or ForwardingMethod.Local))
                EditedReals.Add((key, destination));
        }
        foreach (var real in live?.RealServers.Values ?? Enumerable.Empty<RealServer>())
        {
            if (wanted.RealServers.Contains(real.Key))
                continue;
            if (real.Weight == 0 && RemoveReals.Drains(key, real))
                Draining.Add((key, real.Key));
            else
                RemovedReals.Add((key, real));
        }
    }

    private static void Put(Dictionary<SetKey, List<IpsetEntry>> entries, SetKey key, IpsetEntry entry)
    {
        if (!entries.TryGetValue(key, out var list))
            entries[key] = list = [];
        list.Add(entry);
    }
}

/// <summary>The difference of one family's rules: in words, and as the document that removes it.</summary>
internal sealed record RuleChanges(string Document, IReadOnlyList<Change> List)
{
    /// <param name="removesLeftovers">Whether chains of kube-proxy's iptables mode go as well.</param>
    internal static RuleChanges Of(RuleSet wanted, LiveRules live, bool ipv6, bool removesLeftovers)
    {
        var kind = ipv6 ? "IPv6 rule" : "IPv4 rule";
        var changes = new List<Change>();
        foreach (var (table, chain) in RuleSet.Chains)
        {
            var rules = wanted.Rules.Where(r => r.Table == table && r.Chain == chain).Select(r => r.Rule).ToList();
            var there = live.Of(table, chain);
            if (!live.HasChain(table, chain))
                changes.Add(new Change($"{kind} chain", "add", $"{table} {chain}"));
            if (rules.SequenceEqual(there, StringComparer.Ordinal))
                continue;
            var before = changes.Count;
            changes.AddRange(there.Except(rules, StringComparer.Ordinal).Select(r => new Change(kind, "delete", $"{table} {chain} {r}")));
            changes.AddRange(rules.Except(there, StringComparer.Ordinal).Select(r => new Change(kind, "add", $"{table} {chain} {r}")));
            if (changes.Count == before)
                changes.Add(new Change(kind, "edit", $"{table} {chain}: order or repetition"));
        }
        var jumps = RuleSet.Jumps.Where(j => !live.Of(j.Table, j.From).Contains(j.Rule, StringComparer.Ordinal)).ToList();
        changes.AddRange(jumps.Select(j => new Change(kind, "add", $"{j.Table} {j.From} {j.Rule}")));
        List<(string Table, string Chain)> leftovers = removesLeftovers ? [.. live.LeftoverChains()] : [];
        changes.AddRange(leftovers.Select(l => new Change($"{kind} chain", "delete",
            $"{l.Table} {l.Chain}, left by kube-proxy's iptables mode")));
        if (changes.Count == 0)
            return new RuleChanges("", changes);
        // Each jump goes to the head of its chain: the last one first.
        var document = wanted.ToDocument(withJumps: false);
        foreach (var jump in Enumerable.Reverse(jumps))
            document = Insert(document, jump);
        return new RuleChanges(Removal(leftovers, live.LeftoverJumps()) + document, changes);
    }

    /// <summary>Empties chains, deletes the rules that lead into them, and then the chains.</summary>
    internal static string Removal(IReadOnlyList<(string Table, string Chain)> chains,
        IEnumerable<(string Table, string From, string Rule)> jumps)
    {
        var text = new System.Text.StringBuilder();
        foreach (var table in chains.GroupBy(c => c.Table, StringComparer.Ordinal))
        {
            text.Append('*').Append(table.Key).Append('\n');
            foreach (var (_, chain) in table)
                text.Append(':').Append(chain).Append(" - [0:0]\n");
            foreach (var (_, from, rule) in jumps.Where(j => j.Table == table.Key))
                text.Append("-D ").Append(from).Append(' ').Append(rule).Append('\n');
            foreach (var (_, chain) in table)
                text.Append("-X ").Append(chain).Append('\n');
            text.Append("COMMIT\n");
        }
        return text.ToString();
    }

    private static string Insert(string document, Jump jump)
    {
        var table = document.IndexOf($"*{jump.Table}\n", StringComparison.Ordinal);
        var at = document.IndexOf("-A ", table, StringComparison.Ordinal);
        return document.Insert(at, $"-I {jump.From} {jump.Rule}\n");
    }
}
