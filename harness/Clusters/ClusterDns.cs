using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Sockets;

namespace Conformance.Clusters;

/// <summary>
/// dnsmasq in a node, as a cluster's DNS server: it answers for the names of Services, over UDP and TCP. Names and search
/// list: the Kubernetes DNS-based service discovery specification.
/// </summary>
public static class ClusterDns
{
    /// <summary>The domain of a cluster, as kubeadm sets it up.</summary>
    public const string Domain = "cluster.local";

    private const int Port = 53;

    /// <summary>What a pod of the namespace default has as its /etc/resolv.conf.</summary>
    public static string ResolvConf(string nameserver) =>
        $"nameserver {nameserver}\nsearch default.svc.{Domain} svc.{Domain} {Domain}\noptions ndots:5\n";

    /// <summary>The full name of a Service.</summary>
    public static string NameOf(ServiceSpec service) => $"{service.Name}.default.svc.{Domain}";

    /// <summary>Starts a DNS server in the node that knows these Services.</summary>
    public static async Task<ServerProgram> StartDnsAsync(this Node node, IEnumerable<ServiceSpec> services)
    {
        var config = Path.Combine(ServerProgram.NewFolder(node, "dnsmasq"), "dnsmasq.conf");
        await File.WriteAllLinesAsync(config,
            [
                "keep-in-foreground", "user=root", "pid-file=", "no-resolv", "no-hosts", "no-poll", $"port={Port}", $"local=/{Domain}/",
                    "log-facility=-",
                .. services.Select(s => $"host-record={NameOf(s)},{string.Join(',', s.ClusterIPs)}"),
            ]);
        return node.Own(await ServerProgram.StartAsync(node.Command("dnsmasq", $"--conf-file={config}"), Port,
            () => ListeningSockets.Udp(node.Namespace)));
    }
}
