using System.Text;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>
/// Removes all that is ours or kube-proxy's, of both families, and nothing else. Sysctls stay: what they were before
/// is not known, and other programs may count on them.
/// </summary>
public sealed class Cleaner(KernelPort kernel, GeneratorOptions options)
{
    /// <summary>The chain that other programs (a kubelet) jump into as well: kube-proxy leaves it.</summary>
    private const string SharedChain = "KUBE-MARK-MASQ";

    /// <summary>Sets of ports that no virtual server has.</summary>
    private static readonly string[] s_healthChecks = [Decisions.Sets.HealthCheckNodePort.NameFor(ipv6: false),
        Decisions.Sets.HealthCheckNodePort.NameFor(ipv6: true)];

    private readonly List<string> _errors = [];
    private readonly List<Change> _changes = [];

    /// <summary>Removes everything that it finds.</summary>
    public SyncResult Clean()
    {
        var before = kernel.Messages;
        var live = kernel.Read(options);
        // Virtual servers first: none answers without its rules.
        foreach (var key in live.Servers.Keys.Where(k => options.CompatKubeProxy || IsOurs(k, live)))
            Delete("virtual server", key.ToString(), () => kernel.Ipvs.ExecuteOne(kernel.Ipvs.Delete(key)));
        RemoveAddresses(live);
        foreach (var ipv6 in new[] { false, true })
            RemoveRules(live.Rules(ipv6), ipv6);
        foreach (var name in live.Sets.Keys.Where(n => !options.CompatKubeProxy || !n.StartsWith("KUBE-6-", StringComparison.Ordinal))
            .Concat(kernel.Ipset.List().Select(s => s.Name).Where(Decisions.Sets.IsLeftover)))
            Delete("set", name, () => kernel.Ipset.Destroy(name));
        return new SyncResult(kernel.Messages - before, _changes, _errors, IsBroken: _errors.Count > 0);
    }

    /// <summary>A virtual server that is somebody else's has neither an address on kube-ipvs0 nor an entry in a set of ours.</summary>
    private bool IsOurs(VirtualServerKey key, LiveState live) => !options.IsExcluded(key.Address)
        && (live.Bound?.ContainsKey(key.Address) == true
            || live.Sets.Any(s => s.Value.Contains(new IpsetEntry(key.Address, key.Protocol, key.Port))
            || (!s_healthChecks.Contains(s.Key) && s.Value.Contains(IpsetEntry.OfPort(key.Port)))));

    private void RemoveAddresses(LiveState live)
    {
        if (live.Bound is null)
            return;
        var kept = options.CompatKubeProxy ? [] : live.Bound.Keys.Where(options.IsExcluded).ToList();
        if (kept.Count == 0)
        {
            Delete("device", DocumentSet.Device, () => kernel.Route.DeleteLink(DocumentSet.Device));
            return;
        }
        foreach (var (address, form) in live.Bound.Where(b => !kept.Contains(b.Key)).SelectMany(b => b.Value.Select(f => (b.Key, f))))
            Delete("address", address.ToString(), () => kernel.Route.DeleteAddress(DocumentSet.Device, address, form.PrefixLength));
    }

    /// <summary>
    /// Table by table, so that one that cannot be changed keeps no other: the rules that lead into our chains, whoever wrote them, and the
    /// chains.
    /// </summary>
    private void RemoveRules(LiveRules live, bool ipv6)
    {
        foreach (var table in live.Chains.Where(c => IsOurs(c.Table, c.Chain)).GroupBy(c => c.Table, StringComparer.Ordinal))
        {
            List<(string Table, string Chain)> chains = [.. table];
            var jumps = live.JumpsInto(IsOurs).Where(j => j.Table == table.Key).ToList();
            if (Restore(ipv6, RuleChanges.Removal(chains, jumps)) is not { } error)
                continue;
            // What cannot be deleted is emptied: then it does nothing any more.
            _errors.Add(error);
            var flushed = Restore(ipv6, $"*{table.Key}\n{string.Concat(chains.Select(c => $":{c.Chain} - [0:0]\n"))}COMMIT\n");
            _errors.Add($"{(ipv6 ? "IPv6" : "IPv4")}: {string.Join(", ", chains.Select(c => $"{c.Table} {c.Chain}"))} " +
                $"{(flushed is null ? "stay, without rules" : "stay")}: something else uses one of them.");
        }
        if (!options.CompatKubeProxy && live.HasChain(RuleSet.NatTable, SharedChain) && !IsUsedByOthers(live)
            && Restore(ipv6, $"*{RuleSet.NatTable}\n:{SharedChain} - [0:0]\n-X {SharedChain}\nCOMMIT\n") is { } failure)
        {
            _errors.Add(failure);
        }
    }

    private bool IsOurs(string table, string chain) => chain != SharedChain
        && (RuleSet.Chains.Contains((table, chain)) || (!options.CompatKubeProxy && Leftovers.Has(table, chain)));

    private static bool IsUsedByOthers(LiveRules live) => live.Chains.Except(RuleSet.Chains).Where(c => !Leftovers.Has(c.Table, c.Chain))
        .SelectMany(c => live.Of(c.Table, c.Chain)).Any(r => r.EndsWith($"-j {SharedChain}", StringComparison.Ordinal));

    /// <returns>What failed; null when nothing did.</returns>
    private string? Restore(bool ipv6, string document)
    {
        try
        {
            kernel.Restore(ipv6, document);
            _changes.AddRange(document.Split('\n').Where(l => l.StartsWith("-X ", StringComparison.Ordinal))
                .Select(l => new Change($"{(ipv6 ? "IPv6" : "IPv4")} rule chain", "delete", l[3..])));
            return null;
        }
        catch (GeneratorException e)
        {
            return e.Message;
        }
    }

    private void Delete(string kind, string what, Action delete)
    {
        try
        {
            kernel.Messages++;
            delete();
            _changes.Add(new Change(kind, "delete", what));
        }
        catch (KernelException e)
        {
            _errors.Add(e.Message);
        }
    }
}
