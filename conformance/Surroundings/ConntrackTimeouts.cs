using System.Globalization;
using Conformance.Linux.Sysctls;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Surroundings;

/// <summary>The time-outs of tracked connections.</summary>
public sealed class ConntrackTimeouts : ClusterFixture
{
    [Test, Claim("NODE-6")]
    public async Task Conntrack_time_outs_are_set()
    {
        var service = await ApplyAsync(NewService("web-b"));
        await using var flow = await PodA.ConnectAsync(service.Target());
        await flow.ShouldBeAnsweredByAsync("web-b");

        var entry = Node1.Conntrack().Where(e => e is { Protocol: "tcp", State: "ESTABLISHED" }
            && e.Original.SourcePort == flow.Local.Port && e.Original.Source.Equals(PodA.Address)).ShouldHaveSingleItem();
        entry.SecondsLeft.ShouldBeInRange(86_400 - 60, 86_400, "24 hours without a packet");
        Sysctl.Read(Node1.Namespace, "net.netfilter.nf_conntrack_tcp_timeout_close_wait")
            .ShouldBe("3600", "an hour after the other side's FIN");
    }
}
