using System.Globalization;
using System.Text;
using Conformance.Harness.Labs;
using Conformance.Harness.Traffic;
using Conformance.Kernel;
using Conformance.Kernel.Netlink;
using Conformance.Kernel.Tables;

namespace Conformance.Harness.Observation;

/// <summary>One thing that the flow's first packet met on its way through a node's rules.</summary>
/// <param name="Rule">The rule without its chain, as iptables-save prints it; empty for a return or a policy.</param>
/// <param name="Packet">The packet as it was before.</param>
public sealed record WalkStep(string Table, string Chain, TraceKind Kind, string Rule, uint Mark, Packet Packet)
{
    /// <summary>Where the rule sends the packet: a chain or a target; RETURN, and ACCEPT or DROP for a policy's.</summary>
    public string Target => Kind switch
    {
        TraceKind.Return => "RETURN",
        TraceKind.Policy => "policy",
        _ => $" {Rule}".Split(" -j ") is [_, var rest, ..] ? rest.Split(' ')[0] : "",
    };

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Table,-6} {Chain,-24} {(Kind == TraceKind.Rule ? Rule : Target)}   [{Packet}{(Mark == 0 ? "" : $", mark 0x{Mark:x}")}]");
}

/// <summary>
/// The rules that a flow's first packet really passed on one node, in order, read from the kernel's own trace, with the
/// flow and the entries that IPVS and connection tracking have of it. The rule that asks for the trace exists only while
/// the flow is asked, and is not among the steps.
/// </summary>
public sealed record RuleWalk(Node Node, Flow Flow, IReadOnlyList<WalkStep> Steps, IReadOnlyList<IpvsConnection> Connections, IReadOnlyList<ConntrackEntry> Conntrack)
{
    private const string Table = "raw";
    private const int Attempts = 3;
    private static readonly Lazy<Task> s_modules = new(() => CliWrap.Cli.Wrap("modprobe").WithArguments(["-a", "nfnetlink_log", "xt_TRACE", "iptable_raw"])
        .WithValidation(CliWrap.CommandResultValidation.None).ExecuteAsync().Task);

    /// <summary>The steps as <c>table CHAIN -> TARGET</c>, policies and returns left out.</summary>
    public IEnumerable<string> Path => Steps.Where(s => s.Kind == TraceKind.Rule).Select(s => $"{s.Table} {s.Chain} -> {s.Target}");

    /// <summary>
    /// Asks from a port of its own, and follows the SYN (or datagram) through a node. The kernel tells rules by their
    /// numbers: when somebody changed the rules meanwhile it is asked again, from the next port.
    /// </summary>
    /// <param name="node">Where the rules are.</param>
    /// <param name="ask">Asks from the source port that it is given.</param>
    /// <exception cref="KernelException">The kernel cannot trace, or somebody else traces in this node.</exception>
    public static async Task<RuleWalk> FollowAsync(Node node, int sourcePort, Func<int, Task<Flow>> ask)
    {
        await s_modules.Value;
        await node.TraceLock.WaitAsync();
        try
        {
            var before = await SaveAsync(node);
            for (var attempt = 0; ; attempt++)
            {
                var port = sourcePort + attempt;
                var (flow, steps) = await TraceAsync(node, port, ask, Generator.Sync.LiveRules.Parse(before));
                var after = await SaveAsync(node);
                if (after != before && attempt < Attempts)
                {
                    before = after;
                    continue;
                }
                if (after != before)
                    throw new HarnessException($"The rules of {node.Name} change all the time.", $"They were not the same before and after any of {Attempts + 1} flows.", "What a flow passed cannot be told.", "Let nothing else change Services meanwhile.");
                return new RuleWalk(node, flow, [.. steps.Where(s => s.Table != Table)],
                    [.. node.IpvsConnections().Where(c => c.Client.Port == port)], [.. node.Conntrack().Where(c => c.Original.SourcePort == port)]);
            }
        }
        finally
        {
            node.TraceLock.Release();
        }
    }

    /// <summary>The rules as text, without comments, which have the time in them, and without the counters of chains.</summary>
    private static async Task<string> SaveAsync(Node node) => string.Join('\n', (await node.Command("iptables-save").ExecuteAsync()).StandardOutput.Split('\n')
        .Where(l => !l.StartsWith('#')).Select(l => l.StartsWith(':') ? l.Split('[')[0] : l));

    private static async Task<(Flow Flow, IReadOnlyList<WalkStep> Steps)> TraceAsync(Node node, int sourcePort, Func<int, Task<Flow>> ask, Generator.Sync.LiveRules rulesBefore)
    {
        await using var trace = await RuleTrace.StartAsync(node);
        string[] rules = [.. new[] { "tcp", "udp" }.SelectMany(p => new[] { "PREROUTING", "OUTPUT" }.Select(c => string.Create(CultureInfo.InvariantCulture, $"{c} -p {p} --sport {sourcePort} {(p == "tcp" ? "--syn " : "")}-j TRACE")))];
        await RestoreAsync("-A", rules);
        try
        {
            var flow = await ask(sourcePort);
            return (flow, await trace.TakeAsync(rulesBefore));
        }
        finally
        {
            await RestoreAsync("-D", rules);
        }

        async Task RestoreAsync(string verb, IEnumerable<string> rules) =>
            await node.Command("iptables-restore", "--noflush").WithInput($"*{Table}\n{string.Concat(rules.Select(r => $"{verb} {r}\n"))}COMMIT\n").ExecuteAsync();
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Flow}\nrules of {Node.Name} that its first packet passed:\n");
        foreach (var step in Steps)
            text.Append(CultureInfo.InvariantCulture, $"  {step}\n");
        foreach (var connection in Connections)
            text.Append(CultureInfo.InvariantCulture, $"IPVS: {connection}\n");
        foreach (var entry in Conntrack)
            text.Append(CultureInfo.InvariantCulture, $"conntrack: {entry}\n");
        return text.Append(Flow.Story).ToString();
    }
}
