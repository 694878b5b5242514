using System.Globalization;
using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Explain;

/// <summary>How a new connection's first packet ends.</summary>
public enum WalkEnd
{
    /// <summary>IPVS forwards it to a real server.</summary>
    Forwarded,

    /// <summary>To the host's own sockets: no virtual server takes it.</summary>
    DeliveredLocally,

    /// <summary>It is rejected: a reset, or an ICMP error.</summary>
    Refused,

    /// <summary>It is dropped.</summary>
    Dropped,

    /// <summary>The address is nobody's here: it is routed on.</summary>
    Routed,
}

/// <summary>The path of a packet: its steps in words, and what came of it.</summary>
/// <param name="Server">The virtual server that took it; null when none did.</param>
/// <param name="Source">The source that it has at the end, where it is not masqueraded.</param>
/// <param name="Rules">The rules that it matched, in order.</param>
public sealed record WalkResult(IReadOnlyList<string> Steps, WalkEnd End, DesiredServer? Server, bool IsMasqueraded, IPAddress Source,
    IReadOnlyList<(string Table, string Chain, string Rule)> Rules);

/// <summary>
/// Follows the first packet of a connection through the rules and sets as they are desired, and says which rule does what
/// to it. The hooks are the kernel's: nat PREROUTING, filter INPUT, IPVS, OUTPUT, nat POSTROUTING; for the node's own
/// packets nat OUTPUT, IPVS, OUTPUT again, nat POSTROUTING (ip_vs_ops4 in ip_vs_core.c). Nothing is sent.
/// </summary>
public sealed class Walk
{
    private readonly World _world;
    private readonly RuleSet _rules;
    private readonly VirtualServerKey _target;
    private readonly bool _isFromNode;
    private readonly bool _isFromPod;
    private readonly RealServerKey? _chosen;
    private readonly List<string> _steps = [];
    private readonly List<(string Table, string Chain, string Rule)> _matched = [];
    private IPAddress _source;
    private IPAddress _destination;
    private ushort _port;
    private uint _mark;
    private bool _isThroughIpvs;
    private bool _isMasqueraded;

    private Walk(World world, VirtualServerKey target, IPAddress from, RealServerKey? chosen)
    {
        _world = world;
        _chosen = chosen;
        _target = target;
        _rules = new RuleSet(world.Desired, world.Node, target.IsIPv6);
        _isFromNode = world.Node.Addresses.Contains(from) || IPAddress.IsLoopback(from);
        _isFromPod = !_isFromNode && world.Desired.Options.ClusterCidr.Concat(world.Node.PodCidrs).Any(c => c.Contains(from));
        (_source, _destination, _port) = (from, target.Address, target.Port);
    }

    private enum Outcome
    {
        Goes,
        Drops,
        Rejects,
    }

    /// <param name="from">The client's address. One of the node's own, or a loopback address, means a process on the node.</param>
    /// <param name="chosen">The real server that IPVS chooses; null for the first one.</param>
    public static WalkResult Of(World world, VirtualServerKey target, IPAddress from, RealServerKey? chosen = null) =>
        new Walk(world, target, from, chosen).Follow();

    private WalkResult Follow()
    {
        var isBound = _world.Desired.IsBound(_target.Address);
        var isLocal = isBound || _world.Node.Addresses.Contains(_target.Address) || IPAddress.IsLoopback(_target.Address);
        if (_isFromNode && isBound && !IPAddress.IsLoopback(_source))
        {
            Say($"A process on the node gets {_target.Address} as its source: the address is local.");
            _source = _target.Address;
        }
        Say($"{_source} -> {_target}, from {(_isFromNode ? "the node itself" : _isFromPod ? "a pod" : "outside")}");
        if (Pass(RuleSet.NatTable, _isFromNode ? "OUTPUT" : "PREROUTING") is var first and not Outcome.Goes)
            return End(first);
        if (!isLocal)
            return RouteOn();
        if (!_isFromNode && Pass(RuleSet.FilterTable, "INPUT") is var input and not Outcome.Goes)
            return End(input);
        return _world.Desired.Server(_target) is { } server ? Forward(server) : Deliver();
    }

    private WalkResult RouteOn()
    {
        Say($"{_target.Address} is not an address of this node, nor of kube-ipvs0: it is routed on.");
        if (Pass(RuleSet.FilterTable, _isFromNode ? "OUTPUT" : "FORWARD") is var filtered and not Outcome.Goes)
            return End(filtered);
        _ = Pass(RuleSet.NatTable, "POSTROUTING");
        return Result(WalkEnd.Routed, null);
    }

    private WalkResult Forward(DesiredServer server)
    {
        var seconds = server.Server.PersistenceSeconds.ToString(CultureInfo.InvariantCulture);
        var persistence = seconds == "0" ? "" : $", one real server for each client for {seconds} s";
        Say($"IPVS: virtual server {server.Key}, scheduler {server.Server.Scheduler}{persistence}, of {_world.Desired.Holder(server.Key)}");
        if (server.RealServers.Count == 0)
        {
            Say("It has no real server: refused.");
            return Result(WalkEnd.Refused, server);
        }
        var real = _chosen ?? server.RealServers[0];
        Say($"DNAT to one of {string.Join(", ", server.RealServers)}; followed here: {real}");
        (_destination, _port, _isThroughIpvs) = (real.Address, real.Port, true);
        if (Pass(RuleSet.FilterTable, "OUTPUT") is var output and not Outcome.Goes)
            return End(output);
        _ = Pass(RuleSet.NatTable, "POSTROUTING");
        if (!_isMasqueraded)
            Say($"Not masqueraded: {real.Address} sees {_source}.");
        return Result(WalkEnd.Forwarded, server);
    }

    /// <summary>No virtual server. The node's own packet comes back in by the loopback interface.</summary>
    private WalkResult Deliver()
    {
        Say("IPVS: no virtual server.");
        if (_isFromNode)
        {
            if (Pass(RuleSet.FilterTable, "OUTPUT") is var output and not Outcome.Goes)
                return End(output);
            _ = Pass(RuleSet.NatTable, "POSTROUTING");
            if (Pass(RuleSet.FilterTable, "INPUT") is var input and not Outcome.Goes)
                return End(input);
        }
        Say("Delivered to the host: what listens there answers, else it is refused.");
        return Result(WalkEnd.DeliveredLocally, null);
    }

    private WalkResult End(Outcome outcome) => Result(outcome == Outcome.Drops ? WalkEnd.Dropped : WalkEnd.Refused, null);

    private WalkResult Result(WalkEnd end, DesiredServer? server) => new(_steps, end, server, _isMasqueraded, _source, _matched);

    private Outcome Pass(string table, string hook)
    {
        foreach (var jump in RuleSet.Jumps.Where(j => j.Table == table && j.From == hook))
        {
            var (outcome, isDone) = PassChain(table, jump.To, hook);
            if (outcome != Outcome.Goes || isDone)
                return outcome;
        }
        return Outcome.Goes;
    }

    /// <returns>What became of the packet, and whether the whole hook is done with it (ACCEPT).</returns>
    private (Outcome Outcome, bool IsDone) PassChain(string table, string chain, string hook)
    {
        foreach (var (_, _, text) in _rules.Rules.Where(r => r.Table == table && r.Chain == chain))
        {
            var rule = ParsedRule.Parse(text);
            if (!Matches(rule))
                continue;
            Say($"{table} {hook}, {chain}: {text}");
            _matched.Add((table, chain, text));
            switch (rule.Target)
            {
                case "RETURN":
                    return (Outcome.Goes, false);
                case "ACCEPT":
                    return (Outcome.Goes, true);
                case "DROP":
                    return (Outcome.Drops, true);
                case "REJECT":
                    return (Outcome.Rejects, true);
                case "MARK":
                    _mark = rule.NewMark(_mark);
                    break;
                case "MASQUERADE":
                    _isMasqueraded = true;
                    return (Outcome.Goes, true);
                default:
                    var (outcome, isDone) = PassChain(table, rule.Target, hook);
                    if (outcome != Outcome.Goes || isDone)
                        return (outcome, isDone);
                    break;
            }
        }
        return (Outcome.Goes, false);
    }

    private bool Matches(ParsedRule rule) => rule.Conditions.All(c => Matches(c) != c.IsNegated);

    private bool Matches(Condition condition) => condition.Option switch
    {
        "-s" => IPNetwork.Parse(condition.Value).Contains(_source),
        // By the interface: a pod's is the bridge, or begins with the prefix; where else a packet comes from is not.
        "-i" => _isFromPod,
        "-p" => condition.Value.Equals(_target.Protocol.ToString(), StringComparison.OrdinalIgnoreCase),
        "--match-set" => InSet(condition.Value, condition.Second),
        "--src-type" => IsLocal(_source),
        "--dst-type" => IsLocal(_destination),
        "--physdev-is-in" => _isFromPod,
        "--mark" => IsMarked(condition.Value),
        "--ctstate" => condition.Value.Contains("NEW", StringComparison.Ordinal),
        "--vaddr" => _isThroughIpvs && condition.Value == _target.Address.ToString(),
        "--vport" => condition.Value == _target.Port.ToString(CultureInfo.InvariantCulture),
        "--vproto" => condition.Value == ((int)_target.Protocol).ToString(CultureInfo.InvariantCulture),
        _ => throw new InvalidOperationException($"A rule has a match that is not known here: {condition.Option}"),
    };

    private bool IsLocal(IPAddress address) => IPAddress.IsLoopback(address) || _world.Node.Addresses.Contains(address)
        || _world.Desired.IsBound(address);

    private bool IsMarked(string markAndMask)
    {
        var parts = markAndMask.Split('/');
        return (_mark & ParsedRule.Hex(parts[1])) == ParsedRule.Hex(parts[0]);
    }

    private bool InSet(string name, string directions)
    {
        var key = Sets.All.Select(d => new SetKey(d, _target.IsIPv6)).First(k => k.Name == name);
        var parts = directions.Split(',');
        var address = parts[0] == "src" ? _source : _destination;
        var protocol = _target.Protocol;
        return key.Definition.Type switch
        {
            IpsetType.BitmapPort => _world.Desired.Contains(new SetMember(key, IpsetEntry.OfPort(_port))),
            IpsetType.HashIp => _world.Desired.Contains(new SetMember(key, IpsetEntry.OfAddress(address))),
            IpsetType.HashIpPort => _world.Desired.Contains(new SetMember(key, new IpsetEntry(address, protocol, _port))),
            IpsetType.HashIpPortIp => _world.Desired.Contains(new SetMember(key, new IpsetEntry(address, protocol, _port, _source))),
            _ => _world.Desired.Entries(key).Any(e => e.Address!.Equals(address) && e.Protocol == protocol && e.Port == _port
            && new IPNetwork(e.Second!, e.SecondPrefix).Contains(_source)),
        };
    }

    private void Say(string step) => _steps.Add(step);

    private sealed record Condition(string Option, string Value, string Second, bool IsNegated);

    /// <summary>One of our own rules, read back from its text.</summary>
    private sealed record ParsedRule(IReadOnlyList<Condition> Conditions, string Target, string Xmark)
    {
        internal static ParsedRule Parse(string text)
        {
            var words = new Queue<string>(text.Split('"').SelectMany((part, i) => i % 2 == 1 ? [part]
                : part.Split(' ', StringSplitOptions.RemoveEmptyEntries)));
            var conditions = new List<Condition>();
            var (target, xmark, isNegated) = ("", "", false);
            while (words.TryDequeue(out var word))
            {
                switch (word)
                {
                    case "!":
                        isNegated = true;
                        continue;
                    case "-m" or "--comment" or "--reject-with":
                        _ = words.Dequeue();
                        break;
                    case "-j":
                        target = words.Dequeue();
                        break;
                    case "--set-xmark":
                        xmark = words.Dequeue();
                        break;
                    case "--random-fully":
                        break;
                    case "--match-set":
                        conditions.Add(new Condition(word, words.Dequeue(), words.Dequeue(), isNegated));
                        break;
                    case "--physdev-is-in":
                        conditions.Add(new Condition(word, "", "", isNegated));
                        break;
                    default:
                        conditions.Add(new Condition(word, words.Dequeue(), "", isNegated));
                        break;
                }
                isNegated = false;
            }
            return new ParsedRule(conditions, target, xmark);
        }

        /// <summary>
        /// --set-xmark VALUE/MASK: the bits of the mask are cleared, then the value is XORed in (iptables-extensions(8)).
        /// </summary>
        internal uint NewMark(uint mark)
        {
            var parts = Xmark.Split('/');
            return (mark & ~Hex(parts[1])) ^ Hex(parts[0]);
        }

        internal static uint Hex(string text) => uint.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }
}
