using System.Text;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Kernel;
using Conformance.Kernel.Netlink;

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
    private static readonly string[] s_healthChecks = [Decisions.Sets.HealthCheckNodePort.NameFor(ipv6: false), Decisions.Sets.HealthCheckNodePort.NameFor(ipv6: true)];

    private readonly List<string> _errors = [];
    private readonly List<Change> _changes = [];

    public async Task<SyncResult> CleanAsync()
    {
        var before = kernel.Messages;
        var live = await kernel.ReadAsync(options);
        // Virtual servers first: none answers without its rules.
        foreach (var key in live.Servers.Keys.Where(k => options.CompatKubeProxy || IsOurs(k, live)))
            Delete("virtual server", key.ToString(), () => kernel.Ipvs.ExecuteOne(kernel.Ipvs.Delete(key)));
        RemoveAddresses(live);
        foreach (var ipv6 in new[] { false, true })
            await RemoveRulesAsync(live.Rules(ipv6), ipv6);
        foreach (var name in live.Sets.Keys.Where(n => !options.CompatKubeProxy || !n.StartsWith("KUBE-6-", StringComparison.Ordinal)).Concat(kernel.Ipset.List().Select(s => s.Name).Where(Decisions.Sets.IsLeftover)))
            Delete("set", name, () => kernel.Ipset.Destroy(name));
        return new SyncResult(kernel.Messages - before, _changes, _errors, IsBroken: _errors.Count > 0);
    }

    /// <summary>A virtual server that is somebody else's has neither an address on kube-ipvs0 nor an entry in a set of ours.</summary>
    private bool IsOurs(IpvsKey key, LiveState live) => !options.IsExcluded(key.Address)
        && (live.Bound?.ContainsKey(key.Address) == true || live.Sets.Any(s => s.Value.Contains(new IpsetEntry(key.Address, key.Protocol, key.Port))
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

    private async Task RemoveRulesAsync(LiveRules live, bool ipv6)
    {
        var ours = RuleSet.Chains.Where(c => live.HasChain(c.Table, c.Chain)).ToList();
        var document = new StringBuilder();
        foreach (var table in ours.Select(c => c.Table).Distinct(StringComparer.Ordinal))
        {
            document.Append('*').Append(table).Append('\n');
            foreach (var (_, chain) in ours.Where(c => c.Table == table && c.Chain != SharedChain))
                document.Append(':').Append(chain).Append(" - [0:0]\n");
            foreach (var jump in RuleSet.Jumps.Where(j => j.Table == table).SelectMany(j => live.Of(j.Table, j.From).Where(r => r == j.Rule).Select(_ => j)))
                document.Append("-D ").Append(jump.From).Append(' ').Append(jump.Rule).Append('\n');
            foreach (var (_, chain) in ours.Where(c => c.Table == table && c.Chain != SharedChain))
                document.Append("-X ").Append(chain).Append('\n');
            document.Append("COMMIT\n");
        }
        if (document.Length > 0)
            await RestoreAsync(ipv6, document.ToString());
        if (!options.CompatKubeProxy && live.HasChain(RuleSet.NatTable, SharedChain) && !IsUsedByOthers(live))
            await RestoreAsync(ipv6, $"*{RuleSet.NatTable}\n:{SharedChain} - [0:0]\n-X {SharedChain}\nCOMMIT\n");
    }

    private static bool IsUsedByOthers(LiveRules live) => live.Chains.Except(RuleSet.Chains)
        .SelectMany(c => live.Of(c.Table, c.Chain)).Any(r => r.EndsWith($"-j {SharedChain}", StringComparison.Ordinal));

    private async Task RestoreAsync(bool ipv6, string document)
    {
        try
        {
            await kernel.RestoreAsync(ipv6, document);
            _changes.AddRange(document.Split('\n').Where(l => l.StartsWith("-X ", StringComparison.Ordinal)).Select(l => new Change($"{(ipv6 ? "IPv6" : "IPv4")} rule chain", "delete", l[3..])));
        }
        catch (GeneratorException e)
        {
            _errors.Add(e.Message);
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
