using System.Globalization;
using Conformance.Labs;
using Conformance.Linux.Conntrack;
using Conformance.Topologies;

namespace Conformance.KernelTests;

/// <summary>The table of connection tracking as it is read, on a kernel whose other namespaces use it as well.</summary>
public sealed class ConntrackEntryTests
{
    private const int Entries = 1000;

    [Test]
    public async Task No_entry_is_missed_while_those_of_other_namespaces_come_and_go()
    {
        var file = Path.Combine(RunFolder.Current, "entries.conntrack");
        await File.WriteAllLinesAsync(file, Enumerable.Range(1, Entries).Select(port =>
            string.Create(CultureInfo.InvariantCulture, $"-I -p udp -s 10.1.1.1 -d 10.1.1.2 --sport {port} --dport 9 -t 600")));
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));
        await lab["director"].Command("conntrack", "-R", file).ExecuteAsync();
        var others = lab["client"].Command("sh", "-c", $"for i in $(seq 30); do conntrack -R {file} && conntrack -F || exit 1; done")
            .TryAsync();

        var (missed, readings) = (0, 0);
        for (; !others.IsCompleted; readings++)
            missed += Entries - ConntrackEntry.Read(lab["director"].Namespace).Count;

        (await others).ExitCode.ShouldBe(0, (await others).StandardError);
        readings.ShouldBeGreaterThan(10);
        missed.ShouldBe(0, $"entries missed by {readings} readings");
    }
}
