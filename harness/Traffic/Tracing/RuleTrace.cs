using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;
using Conformance.Linux.Iptables;
using Conformance.Packets;

namespace Conformance.Traffic.Tracing;

/// <summary>The kernel's own trace of packets through a node's rules, reported by whichever variant of iptables works on it.</summary>
internal abstract class RuleTrace : IAsyncDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    /// <summary>Listens from now on. What is traced is asked for by rules with the target TRACE.</summary>
    internal static async Task<RuleTrace> StartAsync(Node node) => await Toolbox.IsNftAsync() ? await NftTrace.StartNftAsync(node)
        : new LegacyTrace(node);

    /// <summary>
    /// Whether rules of a family are traced: xtables-monitor v1.8.9 ends at the first rule of IPv6 that names a protocol.
    /// </summary>
    internal static async Task<bool> CanFollowAsync(bool ipv6) =>
        !ipv6 || (Toolbox.Iptables.HasIPv6 && !await Toolbox.IsNftAsync());

    /// <summary>What a packet met, in order, when all of it has been reported.</summary>
    /// <exception cref="HarnessException">Messages are missing: nothing can be said of the packet's way.</exception>
    internal async Task<IReadOnlyList<WalkStep>> TakeAsync(Node node, Passage passage)
    {
        using var limit = new Patience(s_limit);
        while (true)
        {
            var steps = Take(passage.Rules);
            if (passage.Missing(steps) is not { } missing)
                return steps;
            if (limit.Token.IsCancellationRequested)
            {
                throw new HarnessException($"The trace of {node} is not complete.",
                    $"After {s_limit.TotalSeconds} s: {missing}.\n{string.Join('\n', steps)}",
                    "The path of the flow is unknown.", "Try again; on a busy machine the kernel may drop messages.");
            }
            await Task.Delay(s_pause, CancellationToken.None);
        }
    }

    /// <summary>What was reported since the start, in order.</summary>
    /// <param name="rules">The rules as they are; the legacy variant reports them by their numbers.</param>
    protected abstract IReadOnlyList<WalkStep> Take(SavedRules rules);

    public abstract ValueTask DisposeAsync();
}

/// <summary>iptables-legacy: messages of nfnetlink_log.</summary>
internal sealed class LegacyTrace(Node node) : RuleTrace
{
    private readonly RuleTraceSocket _socket = new(node.Namespace);
    private readonly List<TraceEvent> _events = [];

    protected override IReadOnlyList<WalkStep> Take(SavedRules rules)
    {
        _events.AddRange(_socket.Take());
        return [.. _events.Select(e => StepOf(e, rules))];
    }

    public override ValueTask DisposeAsync()
    {
        _socket.Dispose();
        return ValueTask.CompletedTask;
    }

    private static WalkStep StepOf(TraceEvent e, SavedRules rules) =>
        new(e.Table, e.Chain, e.Kind, e.Kind == TraceKind.Rule && e.Number <= rules.Of(e.Table, e.Chain).Count
            ? rules.Of(e.Table, e.Chain)[e.Number - 1].Text : "", e.Mark, Packet.ParseIp(e.Packet));
}

/// <summary>iptables-nft: what xtables-monitor(8) prints, which knows the rules by itself.</summary>
internal sealed partial class NftTrace : RuleTrace
{
    private const int NetlinkNetfilter = 12;
    private readonly CancellationTokenSource _end = new();
    private readonly StringBuilder _said = new();
    private readonly CommandTask<CommandResult> _monitor;

    private NftTrace(Node node) => _monitor = node.Command("xtables-monitor", "--trace").ToCliWrap()
        .WithValidation(CommandResultValidation.None)
        .WithStandardOutputPipe(PipeTarget.ToDelegate(line =>
        {
            lock (_said)
                _said.Append(line).Append('\n');
        })).ExecuteAsync(_end.Token);

    internal static async Task<NftTrace> StartNftAsync(Node node)
    {
        var trace = new NftTrace(node);
        try
        {
            // It is listening when it has joined a group: netlink(7), /proc/net/netlink.
            await Eventually.Async("xtables-monitor listens",
                () => node.Namespace.Run(() => File.ReadAllLines("/proc/thread-self/net/netlink")).Skip(1)
                .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToList(),
                sockets => sockets.Exists(s => s.Length > 3 && s[1] == NetlinkNetfilter.ToString(CultureInfo.InvariantCulture) && s[3]
                .Trim('0').Length > 0), Timeouts.Start);
            return trace;
        }
        catch
        {
            await trace.DisposeAsync();
            throw;
        }
    }

    protected override IReadOnlyList<WalkStep> Take(SavedRules rules) => Parse(Said);

    public override async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        try
        {
            await _monitor;
        }
        catch (OperationCanceledException)
        {
            // ended by us
        }
        _end.Dispose();
    }

    private string Said
    {
        get
        {
            lock (_said)
                return _said.ToString();
        }
    }

    /// <summary>Lines PACKET: with the packet as it is now, and under it TRACE: with what it meets.</summary>
    internal static IReadOnlyList<WalkStep> Parse(string text)
    {
        var steps = new List<WalkStep>();
        var packets = new Dictionary<string, (Packet Packet, uint Mark)>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n'))
        {
            if (PacketLine().Match(line) is { Success: true } packet)
            {
                packets[packet.Groups["id"].Value] = (
                    // What is traced is a SYN or a datagram (RuleWalk), and only TCP's line has flags.
                    Packet.OfIPv4(new IPEndPoint(IPAddress.Parse(Field("SRC")), Number("SPORT")),
                        new IPEndPoint(IPAddress.Parse(Field("DST")), Number("DPORT")),
                        isSyn: line.Contains(" SYN ", StringComparison.Ordinal), Number("LEN")),
                    uint.Parse(Field("MARK") is ['0', 'x', .. var hex] ? hex : "0", NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            }
            else if (TraceLine().Match(line) is { Success: true } trace)
            {
                var (about, mark) = packets.GetValueOrDefault(trace.Groups["id"].Value, (new Packet(), 0u));
                var kind = trace.Groups["kind"].Value switch
                {
                    "rule" => TraceKind.Rule,
                    "policy" => TraceKind.Policy,
                    _ => TraceKind.Return
                };
                steps.Add(new WalkStep(trace.Groups["table"].Value, trace.Groups["chain"].Value, kind, trace.Groups["rule"].Value.Trim(),
                    mark, about));
            }

            int Number(string name) => int.Parse(Field(name), CultureInfo.InvariantCulture);

            string Field(string name) => Regex.Match(line, $" {name}=(?<value>\\S+)", RegexOptions.ExplicitCapture,
                TimeSpan.FromSeconds(1)) is { Success: true } found ? found.Groups["value"].Value : name is "SRC" or "DST" ? "0.0.0.0"
                : "0";
        }
        return steps;
    }

    [GeneratedRegex(@"^PACKET: \d+ (?<id>[0-9a-f]+) ", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex PacketLine();

    [GeneratedRegex(@"^ TRACE: \d+ (?<id>[0-9a-f]+) (?<table>\w+):(?<chain>[^:]+):(?<kind>rule|policy|return)(:[^ ]*)?" +
        @"( +-[46] -t \w+ -A \S+ ?(?<rule>.*))?", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex TraceLine();
}
