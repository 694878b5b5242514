using System.Globalization;
using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Sync;

/// <summary>One change that brings the kernel nearer to the desired state.</summary>
/// <param name="Kind">sysctl, set, entry, rules, device, address, virtual server, real server, time-outs.</param>
/// <param name="Verb">add, delete, edit.</param>
public readonly record struct Change(string Kind, string Verb, string What)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Verb switch { "add" => '+', "delete" => '-', _ => '~' }} {Kind} {What}";
}

/// <summary>When a step may run. The executor stops before the next phase when a vital step has failed.</summary>
public enum Phase
{
    /// <summary>Settings, sets, and removals that no virtual server needs.</summary>
    Prepare,

    /// <summary>The iptables rules.</summary>
    Rules,

    /// <summary>Virtual servers and addresses: none without its rules.</summary>
    Serve,
}

/// <summary>A step of a plan: changes of one kind that are made together. A value; the executor knows how to make it.</summary>
public abstract record Step(Phase Phase)
{
    /// <summary>The changes, as <c>plan</c> prints them.</summary>
    public abstract IEnumerable<Change> Changes { get; }
}

internal sealed record SetSysctl(SysctlSetting Setting) : Step(Phase.Prepare)
{
    public override IEnumerable<Change> Changes => [new Change("sysctl", "edit", $"{Setting.Name} = {Setting.Value}")];
}

internal sealed record SetTimeouts(IpvsTimeouts Timeouts) : Step(Phase.Prepare)
{
    public override IEnumerable<Change> Changes => [new Change("time-outs", "edit", Timeouts.ToString())];
}

internal sealed record AddDevice() : Step(Phase.Prepare)
{
    public override IEnumerable<Change> Changes => [new Change("device", "add", Documents.DocumentSet.Device)];
}

internal sealed record CreateSet(SetKey Set) : Step(Phase.Prepare)
{
    public override IEnumerable<Change> Changes => [new Change("set", "add", Set.Name)];
}

internal sealed record DestroySet(string Name) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => [new Change("set", "delete", Name)];
}

internal sealed record AddEntries(Phase Phase, SetKey Set, IReadOnlyList<IpsetEntry> Entries) : Step(Phase)
{
    public override IEnumerable<Change> Changes =>
        Entries.Select(e => new Change("entry", "add", $"{Set.Name} {e.Format(Set.Definition.Type)}"));
}

internal sealed record DeleteEntries(Phase Phase, SetKey Set, IReadOnlyList<IpsetEntry> Entries) : Step(Phase)
{
    public override IEnumerable<Change> Changes =>
        Entries.Select(e => new Change("entry", "delete", $"{Set.Name} {e.Format(Set.Definition.Type)}"));
}

/// <param name="Document">A document for iptables-restore --noflush.</param>
internal sealed record RestoreRules(RuleSet Rules, bool IsIPv6, string Document, IReadOnlyList<Change> List) : Step(Phase.Rules)
{
    public override IEnumerable<Change> Changes => List;
}

internal sealed record DeleteServers(IReadOnlyList<VirtualServerKey> Keys) : Step(Phase.Prepare)
{
    public override IEnumerable<Change> Changes => Keys.Select(k => new Change("virtual server", "delete", k.ToString()));
}

internal sealed record AddServers(IReadOnlyList<VirtualServer> Servers) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => Servers.Select(s => new Change("virtual server", "add", s.ToString()));
}

internal sealed record EditServers(IReadOnlyList<VirtualServer> Servers) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => Servers.Select(s => new Change("virtual server", "edit", s.ToString()));
}

internal sealed record AddReals(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> Reals) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => Reals.Select(r => new Change("real server", "add", $"{r.Key} -> {r.Real.EndPoint}"));
}

internal sealed record EditReals(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> Reals) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => Reals.Select(r => ChangeOf(r.Key, r.Real));

    internal static Change ChangeOf(VirtualServerKey key, RealServer real) =>
        new("real server", "edit", string.Create(CultureInfo.InvariantCulture,
            $"{key} -> {real.EndPoint} {real.Method} weight {real.Weight}"));
}

/// <summary>Removes real servers. One of TCP that still has connections gets weight 0 instead, and goes when they have ended.</summary>
internal sealed record RemoveReals(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> Reals) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes =>
        Reals.Select(r => Drains(r.Key, r.Real) ? EditReals.ChangeOf(r.Key, r.Real with { Weight = 0 }) : ChangeOf(r.Key, r.Real.Key));

    internal static Change ChangeOf(VirtualServerKey key, RealServerKey real) => new("real server", "delete", $"{key} -> {real}");

    /// <summary>Datagrams have no end to wait for.</summary>
    internal static bool Drains(VirtualServerKey key, RealServer real) => key.Protocol == Linux.TransportProtocol.Tcp
        && real.ActiveConnections + real.InactiveConnections > 0;
}

/// <param name="Awaited">New virtual servers: an address is bound only when the kernel has taken one of its servers.</param>
internal sealed record Bind(IReadOnlyList<IPAddress> Addresses, IReadOnlyList<VirtualServerKey> Awaited) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => Addresses.Select(a => new Change("address", "add", a.ToString()));
}

internal sealed record Unbind(Phase Phase, IReadOnlyList<(IPAddress Address, int PrefixLength)> Addresses) : Step(Phase)
{
    public override IEnumerable<Change> Changes => Addresses.Select(a => new Change("address", "delete",
        a.PrefixLength == a.Address.GetAddressBytes().Length * 8 ? a.Address.ToString()
            : string.Create(CultureInfo.InvariantCulture, $"{a.Address}/{a.PrefixLength}")));
}
