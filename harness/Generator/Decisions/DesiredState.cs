using System.Net;
using Conformance.Generator.Model;
using Conformance.Generator.Serving;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Decisions;

/// <summary>An address and port that a Service waits for, because another one, which is older, has it.</summary>
public sealed record Dispute(VirtualServerKey Key, ObjectName Holder, ObjectName Waiting)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Waiting} does not get {Key}: {Holder}, which is older, has it";
}

/// <summary>What a change of decisions touched: only this needs to be compared with the kernel.</summary>
public sealed class Touched
{
    /// <summary>Virtual servers that are added, changed or deleted.</summary>
    public HashSet<VirtualServerKey> Servers { get; } = [];

    /// <summary>Set members that are added or deleted.</summary>
    public HashSet<SetMember> Members { get; } = [];

    /// <summary>The servers' addresses: whether one is bound follows from them.</summary>
    public IReadOnlyCollection<IPAddress> Addresses => Servers.Select(s => s.Address).ToHashSet();

    /// <summary>Whether the text of the rules may differ: a set became empty or ceased to be, an address was closed to the node.</summary>
    public bool Rules { get; set; }

    /// <summary>Whether a health check is added, changed or deleted.</summary>
    public bool HealthChecks { get; set; }

    /// <summary>Whether nothing was touched.</summary>
    public bool IsNothing => Servers.Count == 0 && Members.Count == 0 && !Rules && !HealthChecks;
}

/// <summary>
/// The sum of all Services' decisions: what the kernel should have. A Service's decision is replaced as a whole, and
/// costs only what is in it. Of claims for one address and port the oldest Service's counts, then the first by
/// namespace and name; the next takes its place when it goes. (In what was recorded of kube-proxy the last one won.)
/// </summary>
public sealed class DesiredState(GeneratorOptions options)
{
    private readonly Dictionary<ObjectName, ServiceDecision> _decisions = [];
    private readonly Dictionary<VirtualServerKey, List<(ServiceDecision Decision, PortClaim Claim)>> _claims = [];
    private readonly Dictionary<SetKey, Dictionary<IpsetEntry, int>> _sets = [];
    private readonly Dictionary<IPAddress, int> _bound = [];
    private readonly Dictionary<ushort, List<(ServiceDecision Decision, HealthCheck Check)>> _healthChecks = [];
    private readonly HashSet<VirtualServerKey> _closedToNode = [];
    private readonly HashSet<VirtualServerKey> _disputed = [];

    /// <summary>The options that the decisions were made with.</summary>
    public GeneratorOptions Options => options;

    /// <summary>Another one after each change.</summary>
    public long Version { get; private set; }

    /// <summary>The virtual servers that the kernel should have.</summary>
    public IEnumerable<DesiredServer> Servers => _claims.Values.Select(c => c[0].Claim.Server);

    /// <summary>The identities of the virtual servers.</summary>
    public IEnumerable<VirtualServerKey> ServerKeys => _claims.Keys;

    /// <summary>The addresses that kube-ipvs0 should have.</summary>
    public IEnumerable<IPAddress> BoundAddresses => _bound.Keys;

    /// <summary>The health checks to serve, one for each port.</summary>
    public IEnumerable<HealthCheck> HealthChecks => _healthChecks.Values.Select(c => c[0].Check);

    /// <summary>The load-balancer addresses and ports that the node itself may not use.</summary>
    public IReadOnlyCollection<VirtualServerKey> ClosedToNode => _closedToNode;

    /// <summary>Claims that lost to another Service's.</summary>
    public IEnumerable<Dispute> Disputes => _disputed.SelectMany(k => _claims[k].Skip(1)
        .Select(w => new Dispute(k, _claims[k][0].Decision.Name, w.Decision.Name)));

    /// <summary>The sysctls that are to be set.</summary>
    public IEnumerable<SysctlSetting> Sysctls => Decisions.Sysctls.Of(options, ServesIPv6);

    private bool ServesIPv6 => _claims.Keys.Any(k => k.IsIPv6);

    /// <summary>The virtual server of an address and port; null when no Service claims it.</summary>
    public DesiredServer? Server(VirtualServerKey key) => _claims.TryGetValue(key, out var claims) ? claims[0].Claim.Server : null;

    /// <summary>The Service whose claim counts.</summary>
    public ObjectName? Holder(VirtualServerKey key) => _claims.TryGetValue(key, out var claims) ? claims[0].Decision.Name : null;

    /// <summary>Whether kube-ipvs0 should have an address.</summary>
    public bool IsBound(IPAddress address) => _bound.ContainsKey(address);

    /// <summary>The members that a set should have.</summary>
    public IReadOnlyCollection<IpsetEntry> Entries(SetKey set) => _sets.TryGetValue(set, out var entries) ? entries.Keys : [];

    /// <summary>Whether a set should have members.</summary>
    public bool HasEntries(SetKey set) => _sets.TryGetValue(set, out var entries) && entries.Count > 0;

    /// <summary>Whether a set should have a member.</summary>
    public bool Contains(SetMember member) => _sets.TryGetValue(member.Set, out var entries) && entries.ContainsKey(member.Entry);

    /// <summary>Puts a Service's decision in the place of its earlier one.</summary>
    public void Replace(ServiceDecision decision, Touched touched)
    {
        Version++;
        if (_decisions.Remove(decision.Name, out var before))
            Withdraw(before, touched);
        if (decision.Claims.Count == 0 && decision.Members.Count == 0 && decision.HealthCheck is null)
            return;
        _decisions[decision.Name] = decision;
        foreach (var claim in decision.Claims)
        {
            if (!_claims.TryGetValue(claim.Key, out var rivals))
                _claims[claim.Key] = rivals = new(1);
            var holder = rivals.Count > 0 ? rivals[0].Claim : null;
            rivals.Add((decision, claim));
            if (rivals.Count > 1)
            {
                rivals.Sort((a, b) => Order(a.Decision, b.Decision));
                _disputed.Add(claim.Key);
            }
            Exchange(claim.Key, holder, rivals[0].Claim, touched);
        }
        foreach (var member in decision.Members)
            Add(member, touched);
        if (decision.HealthCheck is { } check)
        {
            if (!_healthChecks.TryGetValue(check.Port, out var rivals))
                _healthChecks[check.Port] = rivals = [];
            rivals.Add((decision, check));
            rivals.Sort((a, b) => Order(a.Decision, b.Decision));
            touched.HealthChecks = true;
        }
    }

    private void Withdraw(ServiceDecision decision, Touched touched)
    {
        foreach (var claim in decision.Claims)
        {
            var rivals = _claims[claim.Key];
            var holder = rivals[0].Claim;
            rivals.RemoveAll(r => ReferenceEquals(r.Decision, decision) && ReferenceEquals(r.Claim, claim));
            if (rivals.Count == 0)
                _claims.Remove(claim.Key);
            if (rivals.Count <= 1)
                _disputed.Remove(claim.Key);
            Exchange(claim.Key, holder, rivals.Count > 0 ? rivals[0].Claim : null, touched);
        }
        foreach (var member in decision.Members)
            Remove(member, touched);
        if (decision.HealthCheck is { } check)
        {
            var rivals = _healthChecks[check.Port];
            rivals.RemoveAll(r => ReferenceEquals(r.Decision, decision));
            if (rivals.Count == 0)
                _healthChecks.Remove(check.Port);
            touched.HealthChecks = true;
        }
    }

    /// <summary>What belongs to a claim counts only while the claim does.</summary>
    private void Exchange(VirtualServerKey key, PortClaim? before, PortClaim? after, Touched touched)
    {
        if (ReferenceEquals(before, after))
            return;
        touched.Servers.Add(key);
        for (var i = 0; i < after?.Members.Count; i++)
            Add(after.Members[i], touched);
        for (var i = 0; i < before?.Members.Count; i++)
            Remove(before.Members[i], touched);
        if (after is { Binds: true })
            Count(_bound, key.Address, 1);
        if (before is { Binds: true })
            Count(_bound, key.Address, -1);
        if (after is { IsClosedToNode: true } ? _closedToNode.Add(key) : _closedToNode.Remove(key))
            touched.Rules = true;
    }

    private void Add(SetMember member, Touched touched)
    {
        if (!_sets.TryGetValue(member.Set, out var entries))
            _sets[member.Set] = entries = [];
        if (Count(entries, member.Entry, 1) > 1)
            return;
        touched.Members.Add(member);
        touched.Rules |= entries.Count == 1;
    }

    private void Remove(SetMember member, Touched touched)
    {
        var entries = _sets[member.Set];
        if (Count(entries, member.Entry, -1) > 0)
            return;
        touched.Members.Add(member);
        touched.Rules |= entries.Count == 0;
    }

    private static int Count<T>(Dictionary<T, int> counts, T key, int change)
        where T : notnull
    {
        var count = counts.GetValueOrDefault(key) + change;
        if (count == 0)
            counts.Remove(key);
        else
            counts[key] = count;
        return count;
    }

    private int Order(ServiceDecision a, ServiceDecision b)
    {
        if (options.CompatKubeProxy)
            return ObjectName.Order.Compare(b.Name, a.Name);
        var byAge = a.CreatedAt.CompareTo(b.CreatedAt);
        return byAge != 0 ? byAge : ObjectName.Order.Compare(a.Name, b.Name);
    }
}
