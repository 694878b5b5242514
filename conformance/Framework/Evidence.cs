using System.Collections.Concurrent;
using System.Net;
using System.Runtime.CompilerServices;
using Conformance.Clusters;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Ipvs;
using Conformance.Packets;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Stories;
using NUnit.Framework.Interfaces;

namespace Conformance.Suite;

/// <summary>What a test saw, taken before its lab goes: steps, flows with their stories, tables, rules, captures.</summary>
internal sealed record Evidence(
    string Topology, ImplementationRecord Implementation, IReadOnlyList<string> Observed, IReadOnlyList<StepRecord> Steps,
    IReadOnlyList<FlowRecord> Flows, IReadOnlyList<TableRecord> Tables, IReadOnlyList<AttachmentRecord> Attachments)
{
    private const int MaxFlowsOfPart = 50;
    private const int MaxEntries = 4;

    /// <summary>What sets a lab up where nothing else does.</summary>
    internal static readonly ImplementationRecord ByHand = new("by hand, as the article does it", "");

    internal static readonly Evidence None = new("", ByHand, [], [], [], [], []);

    private static readonly ConcurrentDictionary<string, Evidence> s_taken = new(StringComparer.Ordinal);

    /// <summary>Several tests may look at one flow; when the first of them has ended, its packets may be gone.</summary>
    private static readonly ConditionalWeakTable<Flow, FlowRecord> s_flows = [];

    private static readonly ConcurrentDictionary<string, bool> s_drawn = new(StringComparer.Ordinal);

    /// <summary>Says what is under test before anything of it can fail.</summary>
    internal static void Expect(ITest test, ImplementationRecord implementation) =>
        s_taken[test.Id] = None with { Implementation = implementation };

    /// <summary>Takes the evidence of a test out of its lab and keeps it for the record.</summary>
    internal static async Task TakeAsync(Lab lab, ImplementationRecord implementation, ITest test, bool failed)
    {
        var steps = lab.Journal.Select(e => new StepRecord(Math.Round(e.At.TotalMilliseconds, 3), e.Node, e.Text)).ToList();
        var observed = Suite.Observed.Of(lab, test.Id); // before anything below reads tables as well
        var flows = FlowsOf(StoriesOf(lab.Nodes.SelectMany(n => n.Flows)));
        // Reading costs time: only where the test has done something, or wants explaining; and rules, only where it has set some.
        var worked = lab.Journal.ToLookup(e => e.Node, e => e.Text, StringComparer.Ordinal);
        var tables = lab.Nodes.Where(n => failed || n.Spec.Forwarding || worked.Contains(n.Name))
            .SelectMany(n => n.Tables().Select(t => new TableRecord(n.Name, t.Title, t.Text))).ToList();
        foreach (var node in lab.Nodes.Where(n => failed || worked[n.Name].Any(t => t.Contains("iptables", StringComparison.Ordinal))))
        {
            if (await node.Iptables.DescribeAsync() is { Length: > 0 } rules)
                tables.Add(new TableRecord(node.Name, "iptables rules with counters", rules));
        }
        var attachments = Write(lab.Wire.Packets(), test);
        Keep(test, lab.Topology, new Evidence(lab.Topology.Name, implementation, observed, steps, flows, tables, attachments));
    }

    /// <summary>
    /// Takes the evidence of one of several tests that share a cluster: its own flows and their packets; and when it
    /// failed also all packets of its time, tables, rules and sets of the nodes, and what the proxies said.
    /// </summary>
    internal static async Task TakeAsync(Cluster cluster, ImplementationRecord implementation, ITest test, DateTime since, bool failed)
    {
        var observed = Suite.Observed.Of(cluster.Lab, test.Id); // before anything below reads tables as well
        var stories = StoriesOf(cluster.Lab.Nodes.SelectMany(n => n.Flows).Where(f => f.IsOf(test.Id)));
        var steps = cluster.Lab.Journal.Where(e => e.Scope == test.Id)
            .Select(e => new StepRecord(Math.Round(e.At.TotalMilliseconds, 3), e.Node, e.Text)).ToList();
        var tables = new List<TableRecord>();
        if (failed)
        {
            foreach (var node in cluster.Nodes)
            {
                tables.AddRange(node.Tables().Select(t => new TableRecord(node.Name, t.Title, t.Text)));
                tables.Add(new TableRecord(node.Name, "iptables rules with counters", await node.Iptables.DescribeAsync()));
                tables.Add(new TableRecord(node.Name, "sets", (await node.Command("ipset", "save").TryAsync()).StandardOutput));
            }
            tables.AddRange(cluster.Started.Select(proxy => new TableRecord(proxy.Node.Name, "what the proxy said", proxy.Log)));
        }
        // Before its first flow a test of a slow proxy waits for minutes, in which everybody else's packets pass.
        var packets = failed ? cluster.Lab.Wire.Packets(stories.Count > 0 ? stories.Min(s => s.Flow.StartedAt) : since)
            : stories.SelectMany(s => s.Steps).Select(s => s.Captured);
        Keep(test, cluster.Lab.Topology, new Evidence(cluster.Lab.Topology.Name, implementation, observed, steps, FlowsOf(stories), tables,
            Write(packets, test)));
    }

    /// <summary>
    /// The first and the last flows of a test that asked all the time, and between them those that ended otherwise than the one before:
    /// each story is searched for in all packets since, and those of thousands of flows would take longer than the test.
    /// </summary>
    private static IReadOnlyList<Flow> Telling(IReadOnlyList<Flow> flows)
    {
        if (flows.Count <= 3 * MaxFlowsOfPart)
            return flows;
        var ordered = flows.OrderBy(f => f.StartedAt).ToList();
        var changes = ordered.Zip(ordered.Skip(1)).Where(p => p.First.Outcome.Class != p.Second.Outcome.Class)
            .SelectMany(p => new[] { p.First, p.Second }).Distinct().Take(MaxFlowsOfPart);
        return [.. ordered.Take(MaxFlowsOfPart).Concat(changes).Concat(ordered.TakeLast(MaxFlowsOfPart)).Distinct()
            .OrderBy(f => f.StartedAt)];
    }

    private static void Keep(ITest test, Topologies.Topology topology, Evidence evidence)
    {
        if (s_drawn.TryAdd(topology.Name, true))
            File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(RunFolder.Current, "topologies")).FullName,
                $"{topology.Name}.svg"), TopologyDrawing.ToSvg(topology));
        s_taken[test.Id] = evidence;
        AllureResults.Add(evidence);
    }

    internal static Evidence Of(ITest test)
    {
        if (s_taken.TryRemove(test.Id, out var evidence))
            return evidence;
        // The set-up was not reached, for example because the kernel lacks a feature.
        return test.TypeInfo?.Type.IsSubclassOf(typeof(ClusterFixture)) == true
            ? None with { Implementation = new ImplementationRecord(SharedClusters.Chosen.Name, "") } : None;
    }

    private static List<(Flow Flow, IReadOnlyList<StoryStep> Steps)> StoriesOf(IEnumerable<Flow> flows) =>
        [.. Telling([.. flows]).Select(f => (f, f.ReadStory().Steps))];

    private static List<FlowRecord> FlowsOf(List<(Flow Flow, IReadOnlyList<StoryStep> Steps)> stories)
    {
        // A node that rewrote a packet did it by an entry; where none did, the director's may tell why.
        var entries = stories.SelectMany(s => s.Steps.Where(p => p.Rewrite is not null || s.Flow.From.Lab[p.Captured.Node].Spec.Forwarding))
            .Select(p => p.Captured.Node).Distinct(StringComparer.Ordinal).Select(name => stories[0].Flow.From.Lab[name])
            .Select(n => (Node: n, Ipvs: IpvsConnection.Read(n.Namespace), Conntrack: ConntrackEntry.Read(n.Namespace))).ToList();
        return [.. stories.Select(s => s_flows.GetValue(s.Flow, _ => FlowOf(s.Flow, s.Steps, [.. entries.SelectMany(e =>
            e.Ipvs.Where(c => IsOf(s.Flow, c.Client, c.Protocol)).Select(c => new EntryRecord(e.Node.Name, "IPVS connection", c.ToString()))
            .Concat(e.Conntrack.Where(c => IsOf(s.Flow, new IPEndPoint(c.Original.Source, c.Original.SourcePort), c.Protocol))
                .Select(c => new EntryRecord(e.Node.Name, "conntrack", c.ToString())))).Take(MaxEntries)])))];
    }

    private static bool IsOf(Flow flow, IPEndPoint client, string protocol) => flow.Local.Port != 0 && client.Port == flow.Local.Port
        && protocol.Equals(flow.Protocol.Name(), StringComparison.OrdinalIgnoreCase);

    private static FlowRecord FlowOf(Flow flow, IReadOnlyList<StoryStep> packets, IReadOnlyList<EntryRecord> entries)
    {
        var numbers = new Dictionary<string, int>(StringComparer.Ordinal);
        return new FlowRecord(
            flow.From.Name, flow.Protocol.Name(), flow.Local.ToString(), flow.Target.ToString(),
            flow.Outcome.ToString(), flow.Outcome.Class, flow.Answer?.ToString(),
            [.. packets.Select(p => new PacketRecord(
                Math.Round((p.Captured.Time - packets[0].Captured.Time).TotalMilliseconds, 3), NumberOf(p.Packet),
                p.Captured.Node, p.Captured.Device, p.Captured.IsLeaving ? "out" : "in", p.Packet.ToString(), p.Rewrite))],
            entries, [.. flow.Passed.Select(r => new RuleRecord(r.Node, r.Rule))]);

        int NumberOf(Packet packet)
        {
            if (!numbers.TryGetValue(packet.TransportIdentity, out var number))
                numbers[packet.TransportIdentity] = number = numbers.Count + 1;
            return number;
        }
    }

    private static List<AttachmentRecord> Write(IEnumerable<CapturedPacket> packets, ITest test)
    {
        var attachments = new List<AttachmentRecord>();
        foreach (var capture in packets.GroupBy(p => (p.Node, p.Device)))
        {
            var path = Path.Combine("captures", FolderOf(test), $"{capture.Key.Node}-{capture.Key.Device}.pcap");
            var file = Path.Combine(RunFolder.Current, path);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            using (var stream = File.Create(file))
            using (var writer = new PcapWriter(stream))
            {
                foreach (var packet in capture)
                    writer.Write(packet);
            }
            attachments.Add(new AttachmentRecord($"packets on {capture.Key.Node}:{capture.Key.Device}", path,
                "application/vnd.tcpdump.pcap"));
        }
        return attachments;
    }

    /// <summary>Fixture and method with their arguments, as a folder: <c>DirectRouting-Keepalived-Method</c>.</summary>
    private static string FolderOf(ITest test)
    {
        var name = test.FullName[(test.TypeInfo!.Namespace!.Length + 1)..];
        return string.Join('-', name.Split([.. name.Where(c => !char.IsAsciiLetterOrDigit(c) && c != '_')],
            StringSplitOptions.RemoveEmptyEntries));
    }
}
