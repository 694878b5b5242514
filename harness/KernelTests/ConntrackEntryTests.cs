using System.Globalization;
using System.Net;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Topologies;

namespace Conformance.KernelTests;

/// <summary>The table of connection tracking as we read it.</summary>
public sealed class ConntrackEntryTests
{
    private const int Entries = 1000;
    private static readonly string[] s_omitted = ["mark=", "zone=", "use=", "type=", "code=", "id="];

    [Test]
    public async Task Entries_are_those_of_the_kernels_own_file()
    {
        string[] entries =
        [
            "-p tcp -s 10.1.1.1 -d 10.1.1.2 --sport 40000 --dport 80 --state ESTABLISHED -u SEEN_REPLY,ASSURED",
            "-p tcp -s 10.1.1.1 -d 10.1.1.2 --sport 40001 --dport 80 --state SYN_SENT",
            "-p tcp -s 10.1.1.1 -d 10.1.1.2 --sport 40001 --dport 81 -r 10.1.1.3 -q 10.1.1.9 --reply-port-src 8080 --reply-port-dst 40001"
                + " --state TIME_WAIT -u SEEN_REPLY",
            "-p udp -s 10.1.1.1 -d 10.1.1.2 --sport 40001 --dport 53",
            "-p udp -s fd00::1 -d fd00::2 --sport 40001 --dport 53",
            "-p icmp -s 10.1.1.1 -d 10.1.1.2 --icmp-type 8 --icmp-code 0 --icmp-id 7",
            "-p icmp -s 10.1.1.1 -d 10.1.1.2 --icmp-type 8 --icmp-code 0 --icmp-id 8",
            "-p sctp -s 10.1.1.1 -d 10.1.1.2 --sport 40001 --dport 80 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
        ];
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));
        var director = lab["director"];
        foreach (var entry in entries)
            await director.RunAsync($"conntrack -I -t 600 {entry}");

        var listed = (await director.RunAsync("cat /proc/net/nf_conntrack")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        listed.Length.ShouldBe(entries.Length);
        director.Conntrack().Select(e => Comparable(e.ToString())).ShouldBe(listed.Select(Comparable), ignoreOrder: true);
        ConntrackEntry.Read(director.Namespace, isIPv6: false, TransportProtocol.Tcp, 40001).Select(e => e.Original.DestinationPort)
            .ShouldBe([80, 81], ignoreOrder: true);
        ConntrackEntry.Read(director.Namespace, isIPv6: true, TransportProtocol.Udp, 40001).ShouldHaveSingleItem();
    }

    [Test]
    public async Task No_entry_is_missed_while_those_of_other_namespaces_come_and_go()
    {
        var file = Path.Combine(RunFolder.Current, "entries.conntrack");
        await File.WriteAllLinesAsync(file, Enumerable.Range(1, Entries).Select(port =>
            string.Create(CultureInfo.InvariantCulture, $"-I -p udp -s 10.1.1.1 -d 10.1.1.2 --sport {port} --dport 9 -t 600")));
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));
        await lab["director"].Command("conntrack", "-R", file).ExecuteAsync();
        var others = lab["client"].Command("sh", "-c", $"for i in $(seq 15); do conntrack -R {file} && conntrack -F || exit 1; done")
            .TryAsync();

        var (missed, readings) = (0, 0);
        for (; !others.IsCompleted; readings++)
            missed += Entries - lab["director"].Conntrack().Count;

        (await others).ExitCode.ShouldBe(0, (await others).StandardError);
        readings.ShouldBeGreaterThan(10);
        missed.ShouldBe(0, $"entries missed by {readings} readings");
    }

    /// <summary>A line without the seconds, which pass, and the fields that ToString omits; IPv6 addresses in their short form.</summary>
    private static string Comparable(string line) => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        .Where((word, i) => i != 4 && word is not ("sport=0" or "dport=0")
            && !s_omitted.Any(key => word.StartsWith(key, StringComparison.Ordinal)))
        .Select(word => word.Split('=') is ["src" or "dst", var address] ? $"{word[..4]}{IPAddress.Parse(address)}" : word));
}
