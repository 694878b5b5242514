using System.Globalization;
using Conformance.Labs;
using Conformance.Labs.Waiting;
using Conformance.Linux.Ipvs;
using Conformance.Topologies;

namespace Conformance.KernelTests;

/// <summary>The table of IPVS connections as we read it.</summary>
public sealed class IpvsConnectionTests
{
    private const int Connections = 500;

    [Test]
    public async Task No_connection_is_missed_while_those_of_other_namespaces_come_and_go()
    {
        await using var lab = await Lab.StartAsync(Topology.Load("article-nat"));
        var (still, busy) = (lab["director"], lab["client"]);
        foreach (var node in new[] { still, busy })
        {
            await node.AddAddressAsync("10.10.0.1/32", "lo");
            await node.Ipvs.AddAsync(VirtualServerSpec.Udp("10.10.0.1:80").Masquerading("rs1:8080"));
        }
        await busy.RunAsync("ipvsadm --set 0 0 1");
        await AskFromEachPort(still, times: 1).ExecuteAsync();
        await Eventually.Async("all connections are there", still.IpvsConnections, c => c.Count == Connections);
        var others = AskFromEachPort(busy, times: 15).TryAsync();

        var (missed, readings) = (0, 0);
        for (; !others.IsCompleted; readings++)
            missed += Connections - still.IpvsConnections().Count;

        (await others).ExitCode.ShouldBe(0, (await others).StandardError);
        readings.ShouldBeGreaterThan(10);
        missed.ShouldBe(0, $"connections missed by {readings} readings");
    }

    /// <summary>Datagrams to the virtual server from many ports. Connections that last a second end meanwhile.</summary>
    private static NodeCommand AskFromEachPort(Node node, int times)
    {
        var script = string.Create(CultureInfo.InvariantCulture, $$"""
            for my $time (1..{{times}}) {
                for my $i (1..{{Connections}}) {
                    socket(my $s, PF_INET, SOCK_DGRAM, 0);
                    bind($s, sockaddr_in($time * {{Connections}} + $i, INADDR_ANY)) or die;
                    send($s, 'x', 0, sockaddr_in(80, inet_aton('10.10.0.1')));
                }
                select(undef, undef, undef, 0.1);
            }
            """);
        return node.Command("perl", "-MSocket", "-e", script);
    }
}
