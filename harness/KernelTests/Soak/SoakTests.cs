using System.Diagnostics;
using System.Globalization;
using Conformance.Clusters;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Topologies;

namespace Conformance.KernelTests.Soak;

/// <summary>
/// A proxy in hostile surroundings: while Services, endpoints and nodes change at random, while it is killed, frozen and starved, while
/// others damage its tables and the network loses packets, traffic to what does not change goes on, every change comes to be, and nothing
/// is left. <c>./lab soak</c> runs it for minutes.
/// </summary>
public sealed class SoakTests
{
    private const double DefaultMinutes = 0.3;

    /// <summary>Of shorter runs the growth of memory is that of a start.</summary>
    private const double LeastMinutesForMemory = 8;

    /// <summary>A proxy may grow by so much in an hour without being called leaking: heaps are not quite even.</summary>
    private const double GrowthInHour = 0.1;

    private static readonly TimeSpan s_syncPeriod = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_drainingLimit = TimeSpan.FromMinutes(3);

    [Test]
    public async Task Traffic_survives_what_happens_to_others()
    {
        var minutes = RunFolder.Number(RunFolder.MinutesVariable) ?? DefaultMinutes;
        var seed = (int?)RunFolder.Number(RunFolder.SeedVariable) ?? Random.Shared.Next();
        TestContext.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{RunFolder.SeedVariable}={seed}"));
        var proxy = Proxy.Parse(Environment.GetEnvironmentVariable(Proxy.Variable) is { Length: > 0 } given ? given : "generator");
        var settings = proxy.Features.Contains(ProxyFeature.Settings) ? new ProxySettings(SyncPeriod: s_syncPeriod) : null;
        await using var cluster = await Cluster.StartAsync(proxy, await Lab.StartAsync(Topology.Load("cluster"), capture: false));
        foreach (var node in settings is null ? [] : cluster.Nodes)
            await cluster.RestartProxyAsync(node, settings);
        var random = new Random(seed);
        var bound = proxy.IsSlow ? cluster.Limit : Timeouts.Command;
        var journal = new Journal();
        var changing = new ChangingServices(cluster, random, bound, journal);
        var troubles = new Troubles(cluster, random, settings, journal);
        var steady = new SteadyTraffic(cluster, () => troubles.Last.Length > 0 ? $"last trouble: {troubles.Last}" : "no trouble before");
        await cluster.ApplyAsync(steady.All);
        using var end = new CancellationTokenSource();
        var traffic = steady.RunAsync(random.Next(), end.Token);
        var memory = SampleAsync(cluster.Nodes[^1], end.Token);

        var kept = "";
        try
        {
            for (var watch = Stopwatch.StartNew(); watch.Elapsed < TimeSpan.FromMinutes(minutes) && steady.Violations.Count == 0;)
            {
                Heartbeat.Beat();
                await RoundAsync(cluster, random, changing, troubles, steady, settings is not null, bound);
            }
            if (steady.Violations.Count > 0)
                kept = await KeepAsync();
        }
        catch (Exception e) when (e is ShouldAssertException or HarnessException)
        {
            throw new ShouldAssertException($"{e.Message}\nLast trouble: {troubles.Last}. {await KeepAsync()}", e);
        }
        finally
        {
            await end.CancelAsync(); // its sockets would be met by whoever takes the lab down
            await traffic;
        }

        steady.Violations.ShouldBeEmpty($"connections to Services that did not change. {kept}");
        changing.DeleteAll();
        foreach (var service in steady.All)
            cluster.Delete(service);
        await cluster.SettleAsync();
        var left = proxy.Features.Contains(ProxyFeature.CleanUp) ? await CompareWithFreshAsync(cluster, settings) : "not compared";
        var happened = troubles.Happened.OrderBy(h => h.Key, StringComparer.Ordinal).Select(h => $"{h.Key} {h.Value}");
        RunFolder.WriteFindings("soak", proxy.Name, steady.Describe(), changing.Describe(),
            $"Troubles: {string.Join(", ", happened)}.",
            $"State at the end, against that of a fresh start: {left}.", DescribeMemory(await memory, minutes));

        async Task<string> KeepAsync()
        {
            await NodeTables.WriteAsync("soak", cluster.Nodes);
            return $"What happened before: {journal.File}. The nodes' states: soak-*.txt beside it.";
        }
    }

    private static async Task RoundAsync(Cluster cluster, Random random, ChangingServices changing, Troubles troubles,
        SteadyTraffic steady, bool repairs, TimeSpan bound)
    {
        var kind = random.Next(3);
        if (kind == 0)
        {
            changing.Change();
            await changing.AwaitAsync(isMeasured: true);
        }
        else if (kind == 1 && repairs && changing.Served.SelectMany(s => s.ClusterIPs).ToList() is { Count: > 0 } victims
            && cluster.Proxy.Features.Contains(ProxyFeature.Ipvs))
        {
            await troubles.DamageAsync(victims, steady, bound);
        }
        else
        {
            var endTrouble = await troubles.BeginAsync();
            try
            {
                for (var i = random.Next(1, 6); i > 0; i--)
                {
                    changing.Change();
                    await Task.Delay(random.Next(100, 1500));
                }
            }
            finally
            {
                await endTrouble();
            }
            await troubles.StartEndedAsync();
            await changing.AwaitAsync(isMeasured: false);
        }
    }

    /// <summary>A proxy that starts on a clean node makes what is wanted; nothing more may be there.</summary>
    /// <returns>What was compared, in words.</returns>
    private static async Task<string> CompareWithFreshAsync(Cluster cluster, ProxySettings? settings)
    {
        var count = 0;
        foreach (var node in cluster.Nodes)
        {
            // What is drained goes when its last connection has gone.
            var grown = await Eventually.Async($"nothing is drained on {node.Name}", () => NodeTables.ReadAsync(node),
                lines => !lines.Any(NodeTables.IsDrained), s_drainingLimit, TimeSpan.FromSeconds(1));
            await cluster.StopProxyAsync(node);
            await cluster.Proxy.CleanUpAsync(node);
            await cluster.StartProxyAsync(node, settings);
            await Eventually.Async<IReadOnlyList<string>>($"{node.Name} has what a fresh start makes, and nothing else",
                async () => NodeTables.Difference(grown, await NodeTables.ReadAsync(node)), differences => differences.Count == 0,
                cluster.Limit, TimeSpan.FromMilliseconds(500));
            count += grown.Count;
        }
        return $"the same {count} lines on {cluster.Nodes.Count} nodes";
    }

    private static async Task<List<(double Minute, double Bytes)>> SampleAsync(Node node, CancellationToken end)
    {
        var samples = new List<(double, double)>();
        var watch = Stopwatch.StartNew();
        while (!end.IsCancellationRequested)
        {
            if (Troubles.ProxyOf(node) is { ResidentBytes: > 0 } proxy)
                samples.Add((watch.Elapsed.TotalMinutes, proxy.ResidentBytes));
            await Task.Delay(TimeSpan.FromSeconds(2), end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        return samples;
    }

    /// <exception cref="ShouldAssertException">It grows.</exception>
    private static string DescribeMemory(List<(double Minute, double Bytes)> samples, double minutes)
    {
        var warm = samples.Where(s => s.Minute > minutes / 4).ToList();
        if (minutes < LeastMinutesForMemory || warm.Count < Trend.Parts)
            return string.Create(CultureInfo.InvariantCulture,
                $"Resident memory was not judged: that takes {LeastMinutesForMemory} minutes.");
        var trend = Trend.Of(warm);
        var said = string.Create(CultureInfo.InvariantCulture, $"Resident memory of a proxy that had no trouble of its own: " +
            $"{trend.Mean / (1 << 20):0.0} MiB in the mean, growing by {trend.Slope / 1024:0.0} ± " +
            $"{trend.Margin / 1024:0.0} KiB a minute (95 %).");
        var growthInHour = (trend.Slope - trend.Margin) * 60 / trend.Mean;
        growthInHour.ShouldBeLessThan(GrowthInHour, said);
        return said;
    }
}
