using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Conformance.Labs;
using Conformance.Topologies;
using Conformance.Traffic;

namespace Conformance.Benchmarks;

/// <summary>
/// What it costs to drop a packet by many rules, and by one rule with a set (claim IPS-2): datagrams a second that a client can send
/// until the last rule, or the set, drops them. The sender's processor does the receiver's work as well, since their link is a veth.
/// </summary>
internal static class SetsBench
{
    private const int Port = 9;
    private const int Rounds = 5;
    private static readonly TimeSpan s_round = TimeSpan.FromMilliseconds(300);
    private static readonly int[] s_sizes = [10, 100, 1_000, 10_000];

    internal static async Task<IReadOnlyList<Figure>> MeasureAsync()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"), capture: false);
        var (client, director) = (lab["client"], lab["director"]);
        await PrepareAsync(director, client.Address);
        using var socket = client.Namespace.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        await socket.ConnectAsync(director.Address, Port);

        var ways = s_sizes.SelectMany(size => new[] { (Size: size, IsSet: false), (Size: size, IsSet: true) }).ToList();
        var samples = ways.ToDictionary(w => w, _ => new List<double>());
        var sent = 0L;
        for (var round = 0; round <= Rounds; round++) // each way in each round; the first round warms up
        {
            foreach (var way in ways)
            {
                await director.RunAsync($"iptables -w -R INPUT 1 -j {ChainOf(way.Size, way.IsSet)}");
                var (count, rate) = Send(socket);
                sent += count;
                if (round > 0)
                    samples[way].Add(rate);
            }
        }
        var dropped = DroppedOf(await director.RunAsync("iptables -w -nvxL"));
        if (dropped != sent)
            throw new HarnessException("Not every datagram was dropped by the rules.", $"{sent} were sent, and {dropped} dropped.",
                "The figures are worth nothing.", "Look at the rules of the benchmark.");
        return [.. ways.Select(w => new Figure(w.IsSet ? $"datagrams dropped by one rule with a set of {w.Size}"
            : $"datagrams dropped by the last of {w.Size} rules", "1/s", samples[w]) { Curve = "datagrams dropped a second" })];
    }

    /// <summary>A chain for each way; the client is in the last rule, and in the set.</summary>
    private static async Task PrepareAsync(Node director, IPAddress client)
    {
        var (rules, sets) = (new StringBuilder("*filter\n"), new StringBuilder());
        foreach (var size in s_sizes)
        {
            rules.Append(CultureInfo.InvariantCulture, $":{ChainOf(size, isSet: false)} - [0:0]\n:{ChainOf(size, isSet: true)} - [0:0]\n");
            sets.Append(CultureInfo.InvariantCulture, $"create {SetOf(size)} hash:ip,port\n");
        }
        foreach (var size in s_sizes)
        {
            for (var i = 1; i <= size; i++)
            {
                var address = i == size ? client.ToString() : $"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}";
                rules.Append(CultureInfo.InvariantCulture,
                    $"-A {ChainOf(size, isSet: false)} -s {address} -p udp --dport {Port} -j DROP\n");
                sets.Append(CultureInfo.InvariantCulture, $"add {SetOf(size)} {address},udp:{Port}\n");
            }
            rules.Append(CultureInfo.InvariantCulture,
                $"-A {ChainOf(size, isSet: true)} -m set --match-set {SetOf(size)} src,dst -j DROP\n");
        }
        rules.Append(CultureInfo.InvariantCulture, $"-A INPUT -j {ChainOf(s_sizes[0], isSet: false)}\nCOMMIT\n");
        await director.Command("ipset", "restore").WithInput(sets.ToString()).ExecuteAsync();
        await director.Command("iptables-restore", "-w", "--noflush").WithInput(rules.ToString()).ExecuteAsync();
    }

    private static string ChainOf(int size, bool isSet) => string.Create(CultureInfo.InvariantCulture,
        $"{(isSet ? "SET" : "RULES")}-{size}");

    private static string SetOf(int size) => string.Create(CultureInfo.InvariantCulture, $"black{size}");

    /// <summary>The packets of all rules that drop, in a list of iptables(8) with counters.</summary>
    private static long DroppedOf(string list) => list.Split('\n').Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Where(w => w is [_, _, "DROP", ..]).Sum(w => long.Parse(w[0], CultureInfo.InvariantCulture));

    /// <returns>How many datagrams were sent, and how many a second.</returns>
    private static (int Count, double Rate) Send(Socket socket)
    {
        var datagram = "datagram"u8.ToArray();
        var count = 0;
        var watch = Stopwatch.StartNew();
        for (; watch.Elapsed < s_round; count++)
            socket.Send(datagram);
        return (count, count / watch.Elapsed.TotalSeconds);
    }
}
