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
    /// <summary>The changes, as <c>plan</c> prints them. They are put into words one by one, when they are read.</summary>
    public abstract IEnumerable<Change> Changes { get; }

    /// <summary>How many changes they are.</summary>
    public virtual int Count => Changes.Count();
}

/// <summary>A step that does the same to many things.</summary>
internal abstract record Batch<T>(Phase Phase, IReadOnlyList<T> Items) : Step(Phase)
{
    public override IEnumerable<Change> Changes => Items.Select(ChangeOf);

    public override int Count => Items.Count;

    protected abstract Change ChangeOf(T item);
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

internal sealed record AddEntries(Phase Phase, SetKey Set, IReadOnlyList<IpsetEntry> Items) : Batch<IpsetEntry>(Phase, Items)
{
    protected override Change ChangeOf(IpsetEntry item) => new("entry", "add", $"{Set.Name} {item.Format(Set.Definition.Type)}");
}

internal sealed record DeleteEntries(Phase Phase, SetKey Set, IReadOnlyList<IpsetEntry> Items) : Batch<IpsetEntry>(Phase, Items)
{
    protected override Change ChangeOf(IpsetEntry item) => new("entry", "delete", $"{Set.Name} {item.Format(Set.Definition.Type)}");
}

/// <param name="Document">A document for iptables-restore --noflush.</param>
internal sealed record RestoreRules(RuleSet Rules, bool IsIPv6, string Document, IReadOnlyList<Change> List) : Step(Phase.Rules)
{
    public override IEnumerable<Change> Changes => List;
}

internal sealed record DeleteServers(IReadOnlyList<VirtualServerKey> Items) : Batch<VirtualServerKey>(Phase.Prepare, Items)
{
    protected override Change ChangeOf(VirtualServerKey item) => new("virtual server", "delete", item.ToString());
}

internal sealed record AddServers(IReadOnlyList<VirtualServer> Items) : Batch<VirtualServer>(Phase.Serve, Items)
{
    protected override Change ChangeOf(VirtualServer item) => new("virtual server", "add", item.ToString());
}

internal sealed record EditServers(IReadOnlyList<VirtualServer> Items) : Batch<VirtualServer>(Phase.Serve, Items)
{
    protected override Change ChangeOf(VirtualServer item) => new("virtual server", "edit", item.ToString());
}

internal sealed record AddReals(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> Items)
    : Batch<(VirtualServerKey Key, RealServer Real)>(Phase.Serve, Items)
{
    protected override Change ChangeOf((VirtualServerKey Key, RealServer Real) item) =>
        new("real server", "add", $"{item.Key} -> {item.Real.EndPoint}");
}

internal sealed record EditReals(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> Items)
    : Batch<(VirtualServerKey Key, RealServer Real)>(Phase.Serve, Items)
{
    protected override Change ChangeOf((VirtualServerKey Key, RealServer Real) item) => ChangeTo(item.Key, item.Real);

    internal static Change ChangeTo(VirtualServerKey key, RealServer real) =>
        new("real server", "edit", string.Create(CultureInfo.InvariantCulture,
            $"{key} -> {real.EndPoint} {real.Method} weight {real.Weight}"));
}

/// <summary>Removes real servers. One of TCP that still has connections gets weight 0 instead, and goes when they have ended.</summary>
internal sealed record RemoveReals(IReadOnlyList<(VirtualServerKey Key, RealServer Real)> Items)
    : Batch<(VirtualServerKey Key, RealServer Real)>(Phase.Serve, Items)
{
    protected override Change ChangeOf((VirtualServerKey Key, RealServer Real) item) => Drains(item.Key, item.Real)
        ? EditReals.ChangeTo(item.Key, item.Real with { Weight = 0 }) : DeleteReals.ChangeTo(item.Key, item.Real.Key, "");

    /// <summary>Datagrams have no end to wait for.</summary>
    internal static bool Drains(VirtualServerKey key, RealServer real) => key.Protocol == Linux.TransportProtocol.Tcp
        && real.ActiveConnections + real.InactiveConnections > 0;
}

/// <summary>Deletes real servers at once: a part of <see cref="RemoveReals"/>, or what has drained.</summary>
/// <param name="Note">Appended to each change.</param>
internal sealed record DeleteReals(IReadOnlyList<(VirtualServerKey Key, RealServerKey Real)> Items, string Note = "")
    : Batch<(VirtualServerKey Key, RealServerKey Real)>(Phase.Serve, Items)
{
    protected override Change ChangeOf((VirtualServerKey Key, RealServerKey Real) item) => ChangeTo(item.Key, item.Real, Note);

    internal static Change ChangeTo(VirtualServerKey key, RealServerKey real, string note) =>
        new("real server", "delete", $"{key} -> {real}{note}");
}

/// <summary>
/// Deletes the conntrack entries of UDP clients that keep one source port: such an entry leads to a removed endpoint, or to nowhere.
/// </summary>
internal sealed record ForgetStaleUdp(StaleUdp Stale) : Step(Phase.Serve)
{
    public override IEnumerable<Change> Changes => [];
}

/// <param name="Awaited">New virtual servers: an address is bound only when the kernel has taken one of its servers.</param>
internal sealed record Bind(IReadOnlyList<IPAddress> Items, IReadOnlyList<VirtualServerKey> Awaited)
    : Batch<IPAddress>(Phase.Serve, Items)
{
    protected override Change ChangeOf(IPAddress item) => new("address", "add", item.ToString());
}

internal sealed record Unbind(Phase Phase, IReadOnlyList<(IPAddress Address, int PrefixLength)> Items)
    : Batch<(IPAddress Address, int PrefixLength)>(Phase, Items)
{
    protected override Change ChangeOf((IPAddress Address, int PrefixLength) item) => new("address", "delete",
        item.PrefixLength == item.Address.GetAddressBytes().Length * 8 ? item.Address.ToString()
            : string.Create(CultureInfo.InvariantCulture, $"{item.Address}/{item.PrefixLength}"));
}

/// <summary>The changes of steps that have been made, in order.</summary>
internal sealed class ChangesMade : IReadOnlyCollection<Change>
{
    private readonly List<Step> _steps = [];

    public int Count => _steps.Sum(s => s.Count);

    internal void Add(Step step) => _steps.Add(step);

    /// <summary>Takes back entries of a set that were added and had to be deleted again.</summary>
    internal void Withdraw(SetKey set, IReadOnlyCollection<IpsetEntry> entries)
    {
        for (var i = 0; i < _steps.Count; i++)
        {
            if (_steps[i] is AddEntries added && added.Set == set)
                _steps[i] = added with { Items = [.. added.Items.Except(entries)] };
        }
    }

    public IEnumerator<Change> GetEnumerator() => _steps.SelectMany(s => s.Changes).GetEnumerator();

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
}
