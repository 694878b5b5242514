using System.Text.RegularExpressions;
using Conformance.Generator.Documents;
using Conformance.Generator.Serving;
using Conformance.Generator.Sync;
using Conformance.Generator.Verbs;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Mutants.Faults;

/// <summary>Steps are made at another time than the plan has them, with a pause, so that what is wrong meanwhile lasts.</summary>
/// <param name="steps">The names of the kinds of steps.</param>
/// <param name="first">Whether they come before all others but those that they cannot do without, and not after them.</param>
internal sealed class OrderFault(IReadOnlyList<string> steps, bool first) : Fault
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(300);

    internal override void Execute(SyncPlan plan, KernelPort kernel, Action<SyncPlan> execute)
    {
        var moved = plan.Steps.Where(s => steps.Contains(s.GetType().Name, StringComparer.Ordinal)).ToList();
        var needed = plan.Steps.Where(s => s is SetSysctl or AddDevice or CreateSet).ToList();
        var others = plan.Steps.Except(moved).Except(needed).ToList();
        if (moved.Count == 0 || others.Count == 0)
        {
            execute(plan);
            return;
        }
        // An address is bound also where no server of it is there yet.
        moved = [.. moved.Select(s => s is Bind bind ? bind with { Awaited = [] } : s)];
        execute(new SyncPlan([.. needed, .. first ? moved : others]));
#pragma warning disable RS0030 // there is nothing to wait for: the pause is the fault
        Thread.Sleep(s_pause);
#pragma warning restore RS0030
        execute(new SyncPlan(first ? others : moved));
    }
}

/// <summary>The command line has a flag less, or with another value.</summary>
internal sealed class ArgumentFault(string flag, string? value) : Fault
{
    internal override string[] Change(string[] arguments) =>
    [
        .. arguments.Where(a => a != flag && !a.StartsWith($"{flag}=", StringComparison.Ordinal)),
        .. value is null || arguments is not ["watch", ..] ? Array.Empty<string>() : [value.Length == 0 ? flag : $"{flag}={value}"],
    ];
}

/// <summary>A start removes everything first.</summary>
internal sealed class CleanStart : Fault
{
    internal override Task BeginAsync(string[] arguments) =>
        arguments is ["watch", ..] ? CommandLine.RunAsync(["cleanup"], new Ports()) : Task.CompletedTask;
}

/// <summary>The first sync makes no step of some kinds.</summary>
internal sealed class LazyStart(IReadOnlyList<string> steps) : Fault
{
    private bool _hasStarted;

    internal override void Execute(SyncPlan plan, KernelPort kernel, Action<SyncPlan> execute)
    {
        execute(_hasStarted ? plan : new SyncPlan([.. plan.Steps.Where(s => !steps.Contains(s.GetType().Name, StringComparer.Ordinal))]));
        _hasStarted = true;
    }
}

/// <summary>An answer over HTTP with another status, header or body.</summary>
internal sealed class AnswerFault(AnswerKind kind, Func<HttpAnswer, HttpAnswer> change) : Fault
{
    internal override HttpAnswer Answer(AnswerKind of, HttpAnswer answer) => of == kind ? change(answer) : answer;

    internal static HttpAnswer WithoutLines(HttpAnswer answer, string pattern) => answer with
    {
        Body = Regex.Replace(answer.Body, $"^.*{pattern}.*\n", "", RegexOptions.Multiline, TimeSpan.FromSeconds(1)),
    };
}

/// <summary>A cleanup leaves one thing.</summary>
internal sealed class CleanupFault(string left) : Fault
{
    internal override SyncResult CleanUp(KernelPort kernel, Func<SyncResult> cleanUp)
    {
        var server = kernel.Ipvs.Services() is [var first, ..] ? first : null;
        var result = cleanUp();
        switch (left)
        {
            case "device":
                kernel.Route.AddDummy(DocumentSet.Device);
                break;
            case "set" or "set-ipv6":
                kernel.Ipset.Create(SetFaults.Find("KUBE-CLUSTER-IP").NameFor(left == "set-ipv6"), IpsetType.HashIpPort,
                    left == "set-ipv6", IpsetSocket.MaxElements);
                break;
            case "virtual-server" when server is not null:
                kernel.Ipvs.ExecuteOne(kernel.Ipvs.Add(server));
                break;
            case "chain-nat" or "chain-ipv6":
                kernel.Restore(left == "chain-ipv6", "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n");
                break;
            case "chain-filter":
                kernel.Restore(ipv6: false, "*filter\n:KUBE-FORWARD - [0:0]\nCOMMIT\n");
                break;
            case "jump":
                kernel.Restore(ipv6: false, "*nat\n:KUBE-POSTROUTING - [0:0]\n-I POSTROUTING -m comment --comment " +
                    "\"kubernetes postrouting rules\" -j KUBE-POSTROUTING\nCOMMIT\n");
                break;
        }
        return result;
    }
}
