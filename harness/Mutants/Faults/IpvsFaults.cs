using System.Globalization;
using System.Net;
using Conformance.Generator.Sync;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Processes;

namespace Conformance.Mutants.Faults;

/// <summary>Virtual servers that are left out, with all that waits for them.</summary>
internal sealed class MissingServers(Func<VirtualServerKey, bool> isMissing) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step switch
    {
        AddServers add => add with { Items = [.. add.Items.Where(s => !isMissing(s.Key!.Value))] },
        Bind bind => bind with { Awaited = [.. bind.Awaited.Where(k => !isMissing(k))] },
        _ => step,
    }];
}

/// <summary>Virtual servers with another attribute.</summary>
internal sealed class ChangedServers(Func<VirtualServer, VirtualServer> change) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step switch
    {
        AddServers add => add with { Items = [.. add.Items.Select(change)] },
        EditServers edit => edit with { Items = [.. edit.Items.Select(change)] },
        _ => step,
    }];
}

/// <summary>Real servers with another attribute.</summary>
internal sealed class ChangedReals(Families families, Func<RealServer, RealServer> change) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step switch
    {
        AddReals add => add with { Items = [.. add.Items.Select(Change)] },
        EditReals edit => edit with { Items = [.. edit.Items.Select(Change)] },
        _ => step,
    }];

    private (VirtualServerKey, RealServer) Change((VirtualServerKey Key, RealServer Real) item) =>
        families.Has(item.Key.IsIPv6) ? (item.Key, change(item.Real)) : item;
}

/// <summary>Of several real servers that a virtual server gets at once, the first gets no connections.</summary>
internal sealed class UnequalReals : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step is AddReals add
        ? add with { Items = [.. add.Items.GroupBy(r => r.Key).SelectMany(g => g.Select((r, i) => i == 0 && g.Skip(1).Any()
            ? (r.Key, r.Real with { Weight = 0 }) : r))] } : step];
}

/// <summary>Real servers that are left out.</summary>
/// <param name="isMissing">Gets the real servers that a virtual server gets at once.</param>
internal sealed class MissingReals(Func<(VirtualServerKey Key, RealServer Real), int, bool> isMissing) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step is AddReals add
        ? add with { Items = [.. add.Items.GroupBy(r => r.Key).SelectMany(g => g.Where((r, i) => !isMissing(r, i)))] } : step];
}

/// <summary>A real server stays when its endpoint goes and the virtual server would have none.</summary>
internal sealed class KeptLastReal : Fault
{
    internal override void Execute(SyncPlan plan, KernelPort kernel, Action<SyncPlan> execute)
    {
        var added = plan.Steps.OfType<AddReals>().SelectMany(a => a.Items).ToLookup(r => r.Key);
        execute(new SyncPlan([.. plan.Steps.Select(s => s is RemoveReals remove ? remove with
        {
            Items = [.. remove.Items.GroupBy(r => r.Key).SelectMany(g => added[g.Key].Any()
                || kernel.Ipvs.Destinations(g.Key).Count(d => d.Weight > 0) > g.Count() ? g : g.Skip(1))]
        } : s)]));
    }
}

/// <summary>A step that is not made.</summary>
internal sealed class MissingStep(string step) : StepFault
{
    protected override IEnumerable<Step> Change(Step made) => made.GetType().Name == step ? [] : [made];
}

/// <summary>Removed endpoints lose their connections at once.</summary>
internal sealed class NoDrain : StepFault
{
    protected override IEnumerable<Step> Change(Step step) =>
        [step is RemoveReals remove ? new DeleteReals([.. remove.Items.Select(r => (r.Key, r.Real.Key))]) : step];
}

/// <summary>Removed endpoints get no new connections, and never leave the table.</summary>
internal sealed class EndlessDrain : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => step switch
    {
        DeleteReals { Note.Length: > 0 } => [],
        RemoveReals remove => [new EditReals([.. remove.Items.Select(r => (r.Key, r.Real with { Weight = 0 }))])],
        _ => [step],
    };
}

/// <summary>What netlink messages of the generator do not have is written by ipvsadm(8) afterwards.</summary>
/// <param name="arguments">
/// With {server}, {real}, {scheduler} and {persistence}; called for each virtual server, or with {real} for each real server.
/// </param>
internal sealed class IpvsadmFault(string arguments, bool isPersistent) : StepFault
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(10);

    protected override IEnumerable<Step> Change(Step step) => [step];

    protected override void Follow(SyncPlan plan, KernelPort kernel)
    {
        foreach (var server in plan.Steps.SelectMany(s => s switch
        {
            AddServers add => add.Items,
            EditServers edit => edit.Items,
            _ => [],
        }).Where(s => !isPersistent || s.PersistenceSeconds > 0))
        {
            if (!arguments.Contains("{real}", StringComparison.Ordinal))
            {
                Run(server, "");
                continue;
            }
            foreach (var (_, real) in plan.Steps.OfType<AddReals>().SelectMany(a => a.Items).Where(r => r.Key == server.Key))
                Run(server, real.EndPoint.ToString());
        }
    }

    private void Run(VirtualServer server, string real)
    {
        var key = server.Key!.Value;
        var text = arguments.Replace("{server}", $"{(key.Protocol == TransportProtocol.Tcp ? "-t"
                : key.Protocol == TransportProtocol.Udp ? "-u" : "--sctp-service")} {new IPEndPoint(key.Address, key.Port)}",
                StringComparison.Ordinal)
            .Replace("{real}", real, StringComparison.Ordinal).Replace("{scheduler}", server.Scheduler, StringComparison.Ordinal)
            .Replace("{persistence}", server.PersistenceSeconds.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
            .Replace("{mask}", key.IsIPv6 ? "64" : "255.255.255.0", StringComparison.Ordinal);
        var result = Tool.Run(["ipvsadm", .. text.Split(' ')], input: null, s_limit, CancellationToken.None);
        if (result.ExitCode != 0)
            Console.Error.WriteLine($"mutant: ipvsadm {text}: {result.Error.Trim()}");
    }
}
