using Conformance.Clusters;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Packets;
using Conformance.Reports;

namespace Conformance.Suite.Dns;

/// <summary>DNS in a cluster (article 2.3): two servers behind a ClusterIP, and the resolver of a pod.</summary>
public sealed class ClusterNames : ClusterFixture
{
    private const ushort A = 1;
    private static readonly string s_resolver = ArticleServices.Dns.ClusterIPs[0];

    [Test, Claim("DNS-1")]
    public async Task A_pod_finds_a_service_by_its_short_name_along_the_search_list()
    {
        await StartDnsAsync();
        var resolvConf = ClusterDns.ResolvConf(s_resolver);
        (await AsAPodAsync("cat", "/etc/resolv.conf")).ShouldBe(resolvConf);

        var found = await AsAPodAsync("getent", "ahostsv4", "my-service");

        found.ShouldStartWith($"{ArticleServices.MyService.ClusterIPs[0]} ");
        QuestionsSince(Since).ShouldBe(["my-service.default.svc.cluster.local"], "fewer than five dots: the search list comes first");

        var since = DateTime.UtcNow;
        (await AsAPodAsync("getent", "ahostsv4", "my-service.default")).ShouldStartWith($"{ArticleServices.MyService.ClusterIPs[0]} ");
        QuestionsSince(since).ShouldBe(["my-service.default.default.svc.cluster.local", "my-service.default.svc.cluster.local"],
            "one step of the search list after the other");
        File.ReadAllText("/etc/resolv.conf").ShouldNotBe(resolvConf, "the pod's file is the pod's alone");
    }

    [Test, Claim("DNS-2")]
    public async Task The_full_name_of_a_service_is_its_cluster_ip_over_udp_and_tcp()
    {
        await StartDnsAsync();
        string[] commandLine = ["nslookup", ClusterDns.NameOf(ArticleServices.MyService), s_resolver];

        var overUdp = await PodA.Command(commandLine).TryAsync();
        var overTcp = await PodA.Command([commandLine[0], "-vc", .. commandLine[1..]]).TryAsync();

        foreach (var answer in new[] { overUdp.StandardOutput, overTcp.StandardOutput })
        {
            answer.ShouldContain($"Address:\t{s_resolver}#53");
            answer.ShouldContain(
                $"Name:\t{ClusterDns.NameOf(ArticleServices.MyService)}\nAddress: {ArticleServices.MyService.ClusterIPs[0]}");
        }
        var asked = Lab.Wire.Packets(Since).Where(p => p is { Node: "web-a" or "web-c", IsLeaving: false, Packet.DestinationPort: 53 }
            && p.Packet.SourceAddress!.Equals(PodA.Address)).ToList();
        asked.ShouldContain(p => p.Packet.IsUdp, "a server behind the virtual address got the question");
        asked.ShouldContain(p => p.Packet.Tcp != null);
    }

    private async Task<string> AsAPodAsync(params string[] argv) =>
        (await PodC.Command(argv).WithResolver(ClusterDns.ResolvConf(s_resolver)).TryAsync()).StandardOutput;

    /// <summary>The names that the pod asked for, in order; a resolver asks for both families at once.</summary>
    private List<string> QuestionsSince(DateTime since) =>
        [.. Lab.Wire.Packets(since).Where(p => p is { Node: "pod-c", IsLeaving: true, Packet: { IsUdp: true, DestinationPort: 53 } }
            && p.Packet.DestinationAddress!.ToString() == s_resolver)
            .Select(p => DnsMessage.Parse(p.Packet.Payload.Span)).OfType<DnsMessage>().Where(m => m.Type == A).Select(m => m.Name)];
}
