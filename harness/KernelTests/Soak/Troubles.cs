using System.Globalization;
using System.Text.RegularExpressions;
using Conformance.Clusters;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux;

namespace Conformance.KernelTests.Soak;

/// <summary>What happens to a proxy, its node and its tables. Each trouble begins, and ends when its action is called.</summary>
internal sealed partial class Troubles
{
    private readonly Cluster _cluster;
    private readonly Random _random;
    private readonly ProxySettings? _settings;
    private readonly Journal _journal;
    private readonly List<Func<Task<Func<Task>>>> _all;

    /// <param name="settings">With which a proxy is started again.</param>
    internal Troubles(Cluster cluster, Random random, ProxySettings? settings, Journal journal)
    {
        (_cluster, _random, _settings, _journal) = (cluster, random, settings, journal);
        _all = [KillAsync, FreezeAsync, () => StarveAsync("files", "nofile", p => p.OpenFiles + 1),
            () => StarveAsync("disk", "fsize", _ => 0), () => StarveAsync("memory", "as", p => p.VirtualBytes + (1 << 20)), LoseAsync];
    }

    /// <summary>How often each kind has happened.</summary>
    internal Dictionary<string, int> Happened { get; } = new(StringComparer.Ordinal);

    /// <summary>The last trouble, in words; empty before the first.</summary>
    internal string Last
    {
        get;
        private set
        {
            field = value;
            _journal.Write(value);
        }
    } = "";

    /// <summary>Lets one happen.</summary>
    /// <returns>Ends it.</returns>
    internal async Task<Func<Task>> BeginAsync()
    {
        var end = await _all[_random.Next(_all.Count)]();
        return async () =>
        {
            await end();
            Last += " (over)";
        };
    }

    /// <summary>Starts a proxy again that has ended, as its manager would do.</summary>
    internal async Task StartEndedAsync()
    {
        foreach (var ended in _cluster.Running.Where(r => r.HasEnded).ToList())
        {
            Count($"ended by itself on {ended.Node.Name}");
            _journal.Write($"the proxy of {ended.Node.Name} has ended and is started again");
            await _cluster.StopProxyAsync(ended.Node);
            await _cluster.StartProxyAsync(ended.Node, _settings);
        }
    }

    /// <summary>The proxy of a node: of the processes in the node's network, the one with the most memory.</summary>
    /// <returns>Null when none is there.</returns>
    internal static NodeProcess? ProxyOf(Node node) => NodeProcess.In(node.Namespace.Inode).MaxBy(p => p.ResidentBytes);

    /// <summary>
    /// Somebody else takes away or adds an object. It must be as before in time; what is drained meanwhile may be gone.
    /// </summary>
    /// <param name="victims">ClusterIPs of Services that may suffer.</param>
    /// <exception cref="Shouldly.ShouldAssertException">It is not repaired in time.</exception>
    internal async Task DamageAsync(IReadOnlyList<string> victims, SteadyTraffic steady, TimeSpan bound)
    {
        var node = _cluster.Nodes[_random.Next(_cluster.Nodes.Count)];
        // Some changes show in no answer: a Service without an endpoint that is deleted was refused before, too.
        await _cluster.SettleAsync();
        var before = await NodeTables.ReadAsync(node);
        using var damaged = steady.Damaged();
        var (what, alien) = await DamageAsync(node, before, victims);
        Count("tables damaged");
        Last = $"on {node.Name}: {what}";
        var wanted = before.Where(l => !NodeTables.IsDrained(l)).ToList();
        await Eventually.Async($"repaired on {node.Name}: {what}", async () =>
        {
            var now = await NodeTables.ReadAsync(node);
            return (IReadOnlyList<string>)[.. wanted.Except(now, StringComparer.Ordinal), .. now.Where(l => alien is not null
                && l.Contains(alien, StringComparison.Ordinal) && !NodeTables.IsDrained(l))];
        }, differences => differences.Count == 0, bound, pause: TimeSpan.FromMilliseconds(500));
        Last += " (over)";
    }

    /// <returns>What was done, and a text that only lines have which must go; null for none.</returns>
    private async Task<(string What, string? Alien)> DamageAsync(Node node, IReadOnlyList<string> before, IReadOnlyList<string> victims)
    {
        var victim = victims[_random.Next(victims.Count)];
        var isIPv6 = victim.Contains(':', StringComparison.Ordinal);
        var (target, bits, save) = isIPv6 ? ($"[{victim}]:80", 128, "ip6tables-save") : ($"{victim}:80", 32, "iptables-save");
        switch (_random.Next(5))
        {
            case 0:
                return (await DoAsync($"ipvsadm -D -t {target}"), null);
            case 1:
                var alien = isIPv6 ? "[fd00:10:244::99]:8080" : "10.244.0.99:8080";
                return (await DoAsync($"ipvsadm -a -t {target} -r {alien} -m"), alien);
            case 2:
                return (await DoAsync($"ip address delete {victim}/{bits} dev kube-ipvs0"), null);
            case 3:
                var entries = before.Where(l => l.StartsWith("ipset save: add KUBE-", StringComparison.Ordinal)).ToList();
                return (await DoAsync($"ipset flush {entries[_random.Next(entries.Count)].Split(' ')[3]}"), null);
            default:
                // A rule of the table nat: a packet of a connection that stands passes none of it.
                var saved = (await node.RunAsync($"{save} -t nat")).Split('\n').Where(l => KubeRule().IsMatch(l)).ToList();
                var rule = saved[_random.Next(saved.Count)];
                await node.Command(save.Replace("save", "restore", StringComparison.Ordinal), "--noflush", "--wait")
                    .WithInput($"*nat\n-D{rule[2..]}\nCOMMIT\n").ExecuteAsync();
                return ($"deleted of nat: {rule}", null);
        }

        async Task<string> DoAsync(string command)
        {
            await node.RunAsync(command);
            return command;
        }
    }

    [GeneratedRegex("^-A .*KUBE-", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex KubeRule();

    /// <summary>Only the first node's proxy has trouble as a process: the memory of the second one's shows its growth.</summary>
    private Node Node => _cluster.Nodes[0];

    private async Task<Func<Task>> KillAsync()
    {
        Count("killed");
        Last = $"the proxy of {Node.Name} is killed";
        await _cluster.StopProxyAsync(Node);
        return () => _cluster.StartProxyAsync(Node, _settings);
    }

    private Task<Func<Task>> FreezeAsync() => WithProcessAsync("frozen", process =>
    {
        process.Signal("STOP");
        return () => process.Signal("CONT");
    });

    private Task<Func<Task>> StarveAsync(string what, string limit, Func<NodeProcess, long> value) =>
        WithProcessAsync($"starved of {what}", process =>
        {
            var before = process.Limit(limit);
            process.SetLimit(limit, value(process).ToString(CultureInfo.InvariantCulture));
            return () => process.SetLimit(limit, before);
        });

    private Task<Func<Task>> WithProcessAsync(string what, Func<NodeProcess, Action> begin)
    {
        if (ProxyOf(Node) is not { } process)
        {
            Last = $"no proxy of {Node.Name} is there to be {what}";
            return Task.FromResult(() => Task.CompletedTask);
        }
        Count(what);
        Last = $"the proxy of {Node.Name} is {what}";
        var end = begin(process);
        return Task.FromResult(() =>
        {
            end();
            return Task.CompletedTask;
        });
    }

    private async Task<Func<Task>> LoseAsync()
    {
        Count("packets lost and delayed");
        Last = "packets are lost and delayed";
        foreach (var node in _cluster.Nodes)
            await node.RunAsync($"tc qdisc replace dev {node.Device} root netem delay 20ms 10ms loss 5%");
        return async () =>
        {
            foreach (var node in _cluster.Nodes)
                await node.RunAsync($"tc qdisc delete dev {node.Device} root");
        };
    }

    private void Count(string what) => Happened[what] = Happened.GetValueOrDefault(what) + 1;
}
