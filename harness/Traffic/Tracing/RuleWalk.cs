using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Features;
using Conformance.Linux.Iptables;
using Conformance.Linux.Ipvs;
using Conformance.Packets;

namespace Conformance.Traffic.Tracing;

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
        _ => Linux.Iptables.Rule.TargetOf(Rule),
    };

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Table,-6} {Chain,-24} {(Kind == TraceKind.Rule ? Rule : Target)}   [{Packet}{(Mark == 0 ? "" : $", mark 0x{Mark:x}")}]");
}

/// <summary>
/// The rules that a flow's first packet really passed on one node, in order, read from the kernel's own trace, with the
/// flow and the entries that IPVS and connection tracking have of it. The rule that asks for the trace exists only while
/// the flow is asked, and is not among the steps.
/// </summary>
/// <param name="IsTraced">Whether the kernel's trace could be read; the steps are empty where it could not.</param>
/// <param name="TellsReturns">
/// Whether the trace tells which rule a packet returned by. Linux 6.1's trace of iptables-nft tells only that it returned.
/// </param>
public sealed record RuleWalk(Node Node, Flow Flow, IReadOnlyList<WalkStep> Steps, IReadOnlyList<IpvsConnection> Connections,
    IReadOnlyList<ConntrackEntry> Conntrack, bool IsTraced = true,
    bool TellsReturns = true)
{
    private const string Table = "raw";
    private const int Attempts = 9; // on a cluster that others use
    private static int s_repeatPort = 23000;

    /// <summary>Whether the caller is itself the flow that is followed: explaining its failure must not follow another one.</summary>
    private static readonly AsyncLocal<bool> s_isFollowing = new();
    private static readonly Lazy<Task> s_modules =
        new(() => Toolbox.ModprobeAsync("nfnetlink_log", "xt_TRACE", "iptable_raw", "ip6table_raw"));

    /// <summary>The steps as <c>table CHAIN -> TARGET</c>, policies and returns left out.</summary>
    public IEnumerable<string> Path => Steps.Where(s => s.Kind == TraceKind.Rule).Select(s => $"{s.Table} {s.Chain} -> {s.Target}");

    /// <inheritdoc cref="FollowAsync(IReadOnlyList{Node}, int, Func{int, Task{Flow}}, bool)"/>
    public static async Task<RuleWalk> FollowAsync(Node node, int sourcePort, Func<int, Task<Flow>> ask, bool ipv6 = false) =>
        (await FollowAsync([node], sourcePort, ask, ipv6))[0];

    /// <summary>
    /// Asks from a port of its own, and follows the SYN (or datagram) through nodes. The kernel tells rules by their
    /// numbers: when somebody changed the rules meanwhile it is asked again, from the next port.
    /// </summary>
    /// <param name="nodes">Where the rules are.</param>
    /// <param name="ask">Asks from the source port that it is given.</param>
    /// <param name="ipv6">Whether the flow is of IPv6: its rules are others.</param>
    /// <returns>A walk for each node, of the same flow.</returns>
    /// <exception cref="KernelException">The kernel cannot trace, or somebody else traces in such a node.</exception>
    public static async Task<IReadOnlyList<RuleWalk>> FollowAsync(IReadOnlyList<Node> nodes, int sourcePort, Func<int, Task<Flow>> ask,
        bool ipv6 = false)
    {
        await s_modules.Value;
        var locked = new List<Node>();
        s_isFollowing.Value = true;
        try
        {
            foreach (var node in nodes.OrderBy(n => n.Name, StringComparer.Ordinal)) // in one order, so that two never wait for each other
            {
                await node.TraceLock.WaitAsync();
                locked.Add(node);
            }
            if (!await RuleTrace.CanFollowAsync(ipv6))
            {
                var untraced = await ask(sourcePort);
                return [.. nodes.Select(node => Walk(node, untraced, [], sourcePort) with { IsTraced = false })];
            }
            var before = await SaveAsync(nodes, ipv6);
            for (var attempt = 0; ; attempt++)
            {
                var port = sourcePort + attempt;
                var traced = TraceAsync(nodes, port, ask, before, ipv6);
                await ((Task)traced).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // rules that change may be why it failed
                var after = await SaveAsync(nodes, ipv6);
                if (!AreSame(before, after) && attempt < Attempts)
                {
                    before = after;
                    continue;
                }
                var (flow, steps) = await traced;
                if (!AreSame(before, after))
                    throw new HarnessException($"The rules of {string.Join(" or ", nodes)} change all the time.",
                        $"They were not the same before and after any of {Attempts + 1} flows.", "The path of a flow is unknown.",
                        "Let nothing else change Services meanwhile.");
                List<RuleWalk> walks = [.. nodes.Select((node, i) => Walk(node, flow, steps[i], port))];
                flow.Passed = [.. walks.SelectMany(w => w.Steps.Select(s => (w.Node.Name, s.ToString())))];
                return walks;
            }
        }
        finally
        {
            s_isFollowing.Value = false;
            foreach (var node in locked)
                node.TraceLock.Release();
        }
    }

    private static RuleWalk Walk(Node node, Flow flow, IReadOnlyList<WalkStep> steps, int port)
    {
        var probes = steps.Where(s => s.Chain.StartsWith(NodeIptables.TraceProbe, StringComparison.Ordinal)).ToList();
        return new RuleWalk(node, flow, [.. steps.Where(s => s.Table != Table)],
            [.. node.IpvsConnections().Where(c => c.Client.Port == port)], EntriesOf(flow, node, port),
            TellsReturns: probes.Count == 0 || probes.Exists(s => s.Kind == TraceKind.Rule));
    }

    /// <summary>
    /// A flow that was not traced, once more: what its like passes on the nodes where it was seen, and which rules' counters
    /// grew meanwhile (others' packets count too).
    /// </summary>
    /// <returns>In words; empty for what cannot be traced.</returns>
    internal static async Task<string> RepeatAsync(Flow flow)
    {
        if (s_isFollowing.Value || flow.Protocol is not (TransportProtocol.Tcp or TransportProtocol.Udp))
            return "";
        var ipv6 = flow.Target.AddressFamily == AddressFamily.InterNetworkV6;
        var seen = flow.ReadStory().Steps.Select(s => s.Captured.Node).Append(flow.From.Name).ToHashSet(StringComparer.Ordinal);
        var nodes = flow.From.Lab.Nodes.Where(n => n.Spec.Forwarding && seen.Contains(n.Name)).ToList();
        if (nodes.Count == 0)
            return "";
        try
        {
            var before = await Task.WhenAll(nodes.Select(n => n.Iptables.CountersAsync(ipv6)));
            var walks = await FollowAsync(nodes, Interlocked.Add(ref s_repeatPort, Attempts + 1), port => flow.AgainAsync(port), ipv6);
            var after = await Task.WhenAll(nodes.Select(n => n.Iptables.CountersAsync(ipv6)));
            return $"A REPEAT of the flow, traced: " +
                $"{walks[0].Flow}\n{string.Concat(walks.Select(w => w.Describe()))}" +
                string.Concat(nodes.Select(
                    (n, i) => $"rules of {n.Name} whose counters grew meanwhile:\n{string.Concat(Grown(before[i], after[i]))}"));
        }
        catch (Exception e) when (e is KernelException or HarnessException or CommandFailedException or Shouldly.ShouldAssertException)
        {
            return $"A repeat of the flow cannot be traced: {e.Message}"; // explaining a failure must not hide it behind another
        }
    }

    private static IEnumerable<string> Grown(IReadOnlyList<Rule> before, IReadOnlyList<Rule> after)
    {
        var counts = before.GroupBy(r => (r.Table, r.Chain, r.Text)).ToDictionary(g => g.Key, g => g.Sum(r => r.Packets));
        return after.GroupBy(r => (r.Table, r.Chain, r.Text))
            .Select(g => (g.Key, More: g.Sum(r => r.Packets) - counts.GetValueOrDefault(g.Key))).Where(r => r.More > 0)
            .Select(r => string.Create(CultureInfo.InvariantCulture, $"  {r.Key.Table}: +{r.More} -A {r.Key.Chain} {r.Key.Text}\n"));
    }

    private static Task<SavedRules[]> SaveAsync(IReadOnlyList<Node> nodes, bool ipv6) =>
        Task.WhenAll(nodes.Select(n => n.Iptables.ReadAsync(ipv6)));

    /// <summary>
    /// Whether both reads show the same rules. The table of the tracing rule does not count: it may have been loaded only since then.
    /// </summary>
    private static bool AreSame(SavedRules[] before, SavedRules[] after) => before.Zip(after)
        .All(p => Lines(p.First).SequenceEqual(Lines(p.Second), StringComparer.Ordinal));

    private static IEnumerable<string> Lines(SavedRules rules) =>
        rules.Chains.Where(c => c.Table != Table).SelectMany(c => rules.Of(c.Table, c.Chain).Select(r => r.Text)
            .Prepend($"{c.Table} {c.Chain}"));

    private static async Task<(Flow Flow, IReadOnlyList<WalkStep>[] Steps)> TraceAsync(IReadOnlyList<Node> nodes, int sourcePort,
        Func<int, Task<Flow>> ask, SavedRules[] rulesBefore, bool ipv6)
    {
        string[] rules = [.. new[] { "tcp", "udp" }.SelectMany(p => new[] { "PREROUTING", "OUTPUT" }
            .Select(c => string.Create(CultureInfo.InvariantCulture,
                $"{c} -p {p} --sport {sourcePort} {(p == "tcp" ? "--syn " : "")}-j")))];
        var traces = new List<RuleTrace>();
        var traced = new List<Node>();
        try
        {
            foreach (var node in nodes)
            {
                traces.Add(await RuleTrace.StartAsync(node));
                await RestoreAsync(node, "-A");
                traced.Add(node);
            }
            var flow = await ask(sourcePort);
            return (flow, await Task.WhenAll(traces.Select((t, i) => t.TakeAsync(nodes[i], PassageOf(flow, nodes[i], rulesBefore[i])))));
        }
        finally
        {
            try
            {
                await Task.WhenAll(traced.Select(node => RestoreAsync(node, "-D")));
            }
            finally
            {
                foreach (var trace in traces)
                    await trace.DisposeAsync();
            }
        }

        Task RestoreAsync(Node node, string verb)
        {
            // A chain of its own for each port: one that a killed process has left is not in the way.
            var probe = string.Create(CultureInfo.InvariantCulture, $"{NodeIptables.TraceProbe}{sourcePort}");
            var (first, last) = verb == "-A"
                ? ($":{probe} - [0:0]\n-A {probe} -p tcp -j RETURN\n-A {probe} -p udp -j RETURN\n", "")
                : ("", $"-F {probe}\n-X {probe}\n");
            return node.Iptables.RestoreAsync($"*{Table}\n{first}" +
                $"{string.Concat(rules.Select(r => $"{verb} {r} TRACE\n{verb} {r} {probe}\n"))}{last}COMMIT\n", ipv6);
        }
    }

    private static Passage PassageOf(Flow flow, Node node, SavedRules rules)
    {
        var first = flow.ReadStory().Steps is [var step, ..] ? step.Packet.TransportIdentity : null;
        var here = flow.ReadStory().Steps.Where(s => s.Captured.Node == node.Name && s.Packet.TransportIdentity == first).ToList();
        // The rules that ask for the trace know the packet by its source port: behind a node that has masqueraded it, it is no longer
        // followed.
        var isFollowed = here.Count > 0
            && (node == flow.From || here.Exists(s => !s.Captured.IsLeaving && s.Packet.SourcePort == flow.Local.Port));
        return new Passage(isFollowed, here.Exists(s => s.Captured.IsLeaving), EntriesOf(flow, node, flow.Local.Port).Count > 0, rules);
    }

    private static IReadOnlyList<ConntrackEntry> EntriesOf(Flow flow, Node node, int port) =>
        node.Conntrack(flow.Target.AddressFamily == AddressFamily.InterNetworkV6, flow.Protocol, port);

    /// <summary>What the packet met on this node, without the flow and its packets; empty when it met nothing.</summary>
    public string Describe()
    {
        var text = new StringBuilder();
        if (!IsTraced)
            text.Append(CultureInfo.InvariantCulture,
                $"rules of {Node.Name}: not traced, there is no trace of IPv6 that can be read here\n");
        if (Steps.Count > 0)
            text.Append(CultureInfo.InvariantCulture, $"rules of {Node.Name} that its first packet passed:\n");
        foreach (var step in Steps)
            text.Append(CultureInfo.InvariantCulture, $"  {step}\n");
        foreach (var connection in Connections)
            text.Append(CultureInfo.InvariantCulture, $"IPVS of {Node.Name}: {connection}\n");
        foreach (var entry in Conntrack)
            text.Append(CultureInfo.InvariantCulture, $"conntrack of {Node.Name}: {entry}\n");
        return text.ToString();
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Flow}\n{Describe()}{Flow.ReadStory()}";
}
