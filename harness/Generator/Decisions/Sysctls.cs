using System.Globalization;
using Conformance.Generator.Model;

namespace Conformance.Generator.Decisions;

/// <summary>A kernel parameter that is set.</summary>
/// <param name="IsGlobal">Whether it belongs to the machine and only the first network namespace may write it.</param>
/// <param name="IsVital">Whether no Service works without it.</param>
/// <param name="IsMinimum">Whether a larger value is right as well.</param>
public sealed record SysctlSetting(string Name, string Value, bool IsGlobal = false, bool IsVital = false, bool IsMinimum = false)
{
    internal bool IsMetBy(string live) => live == Value
        || (IsMinimum && long.TryParse(live, CultureInfo.InvariantCulture, out var value)
            && value >= long.Parse(Value, CultureInfo.InvariantCulture));
}

/// <summary>The parameters that the configuration asks for (kernel documentation, ipvs-sysctl.rst and nf_conntrack-sysctl.rst).</summary>
public static class Sysctls
{
    /// <param name="servesIPv6">Whether there is a Service of IPv6: a router ignores router advertisements, which is not for hosts without
    /// any.</param>
    public static IEnumerable<SysctlSetting> Of(GeneratorOptions options, bool servesIPv6)
    {
        yield return new("net.ipv4.vs.conntrack", "1", IsVital: true);
        yield return new("net.ipv4.vs.expire_nodest_conn", "1");
        yield return new("net.ipv4.vs.expire_quiescent_template", "1");
        yield return new("net.ipv4.ip_forward", "1", IsVital: true);
        if (servesIPv6 && !options.CompatKubeProxy) // kube-proxy forgets it: Services of IPv6 then reach no pod of another node
            yield return new("net.ipv6.conf.all.forwarding", "1");
        if (options.IpvsStrictArp)
        {
            yield return new("net.ipv4.conf.all.arp_ignore", "1");
            yield return new("net.ipv4.conf.all.arp_announce", "2");
        }
        if (options.ConntrackMax(Environment.ProcessorCount) is > 0 and var max)
        {
            yield return new("net.netfilter.nf_conntrack_max", Text(max), IsGlobal: true);
            // the hash table's size, as kube-proxy chooses it
            yield return new("net.netfilter.nf_conntrack_buckets", Text(max / 4), IsGlobal: true, IsMinimum: true);
        }
        foreach (var (name, seconds) in new[]
        {
            ("tcp_timeout_established", options.ConntrackTcpTimeoutEstablishedSeconds),
                ("tcp_timeout_close_wait", options.ConntrackTcpTimeoutCloseWaitSeconds),
            ("udp_timeout", options.ConntrackUdpTimeoutSeconds), ("udp_timeout_stream", options.ConntrackUdpTimeoutStreamSeconds),
        })
        {
            if (seconds > 0)
                yield return new($"net.netfilter.nf_conntrack_{name}", Text(seconds));
        }
        if (options.ConntrackTcpBeLiberal)
            yield return new("net.netfilter.nf_conntrack_tcp_be_liberal", "1");
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
