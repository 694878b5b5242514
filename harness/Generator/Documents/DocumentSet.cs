using System.Globalization;
using System.Net;
using System.Text;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Documents;

/// <summary>
/// The desired state as documents that the stock tools load: ipset restore, iptables-restore, ip6tables-restore,
/// ipvsadm -R, ip -batch, sysctl -p; and a script that loads them on a host in use.
/// </summary>
public sealed record DocumentSet(string Ipset, string Iptables, string Ip6tables, string Ipvsadm, string Addresses, string Sysctls)
{
    /// <summary>The dummy device that has the virtual addresses; it is never set up.</summary>
    public const string Device = "kube-ipvs0";

    /// <summary>The documents of a desired state.</summary>
    public static DocumentSet Of(DesiredState state, NodeState node) => new(
        IpsetOf(state), new RuleSet(state, node, ipv6: false).ToDocument(withJumps: true), new RuleSet(state, node, ipv6: true)
            .ToDocument(withJumps: true),
        IpvsadmOf(state), AddressesOf(state), SysctlsOf(state));

    /// <summary>Writes each document as a file of the folder, which is made.</summary>
    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (var (name, text) in new[]
        {
            ("ipset.txt", Ipset), ("iptables.txt", Iptables), ("ip6tables.txt", Ip6tables), ("ipvsadm.txt", Ipvsadm),
                ("addresses.txt", Addresses), ("sysctls.txt", Sysctls),
        })
        {
            File.WriteAllText(Path.Combine(folder, name), text);
        }
        var script = Path.Combine(folder, "apply.sh");
        using (var source = typeof(DocumentSet).Assembly.GetManifestResourceStream("apply.sh")!)
        using (var target = File.Create(script))
            source.CopyTo(target);
        File.SetUnixFileMode(script,
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
            | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
    }

    private static string IpsetOf(DesiredState state)
    {
        var text = new StringBuilder();
        foreach (var ipv6 in new[] { false, true })
        {
            foreach (var set in Sets.Of(state.Options))
            {
                var key = new SetKey(set, ipv6);
                text.Append(CultureInfo.InvariantCulture, $"create {key.Name} {Header(set.Type, ipv6, state.Entries(key).Count)} -exist\n");
                foreach (var entry in state.Entries(key).Select(e => e.Format(set.Type)).Order(StringComparer.Ordinal))
                    text.Append(CultureInfo.InvariantCulture, $"add {key.Name} {entry} -exist\n");
            }
        }
        return text.ToString();
    }

    private static string Header(IpsetType type, bool ipv6, int count) => type switch
    {
        IpsetType.BitmapPort => "bitmap:port range 0-65535",
        IpsetType.HashIp => $"hash:ip {Hash(ipv6, count)}",
        IpsetType.HashIpPort => $"hash:ip,port {Hash(ipv6, count)}",
        IpsetType.HashIpPortIp => $"hash:ip,port,ip {Hash(ipv6, count)}",
        _ => $"hash:ip,port,net {Hash(ipv6, count)}",
    };

    private static string Hash(bool ipv6, int count) =>
        string.Create(CultureInfo.InvariantCulture,
            $"family {(ipv6 ? "inet6" : "inet")} hashsize 1024 maxelem {SetDefinition.MaxElements(count)}");

    private static string IpvsadmOf(DesiredState state)
    {
        var text = new StringBuilder();
        var options = state.Options;
        if (options.IpvsTcpTimeoutSeconds + options.IpvsTcpFinTimeoutSeconds + options.IpvsUdpTimeoutSeconds > 0) // 0 leaves the kernel's
            text.Append(CultureInfo.InvariantCulture,
                $"--set {options.IpvsTcpTimeoutSeconds} {options.IpvsTcpFinTimeoutSeconds} {options.IpvsUdpTimeoutSeconds}\n");
        foreach (var server in state.Servers.OrderBy(s => s.Key.ToString(), StringComparer.Ordinal))
        {
            var option = server.Key.Protocol switch
            {
                TransportProtocol.Udp => "-u",
                TransportProtocol.Sctp => "--sctp-service",
                _ => "-t",
            };
            var address = server.Key.Address.Text(server.Key.Port);
            text.Append(CultureInfo.InvariantCulture, $"-A {option} {address} -s {server.Server.Scheduler}");
            if (server.Server.PersistenceSeconds > 0)
                text.Append(CultureInfo.InvariantCulture, $" -p {server.Server.PersistenceSeconds}");
            if (server.Server.Flags.HasFlag(VirtualServerFlags.Sched2))
                text.Append(" -b mh-port");
            text.Append('\n');
            foreach (var real in server.RealServers)
                text.Append(CultureInfo.InvariantCulture, $"-a {option} {address} -r {real} -m -w 1\n");
        }
        return text.ToString();
    }

    private static string AddressesOf(DesiredState state) =>
        string.Concat(state.Options.IpvsExcludeCidrs.Select(n => $"# excluded: {n}\n")) + $"link add {Device} type dummy\n"
            + string.Concat(state.BoundAddresses
            .Select(a => $"address add {a.Text()}/{a.GetAddressBytes().Length * 8} dev {Device}{NotASource(a, state.Options)}\n")
                .Order(StringComparer.Ordinal));

    /// <summary>Keeps a virtual address from being the source of the node's own packets; kube-proxy does not.</summary>
    private static string NotASource(IPAddress address, GeneratorOptions options) =>
        options.CompatKubeProxy ? "" : address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? " scope host"
            : " preferred_lft 0";

    /// <summary>
    /// A dash lets sysctl(8) go on: in a namespace of its own a host's global settings cannot be written. A minimum, which it
    /// knows not, is for apply.sh.
    /// </summary>
    private static string SysctlsOf(DesiredState state) =>
        string.Concat(state.Sysctls.Select(s => $"{(s.IsMinimum ? "# at least: " : s.IsGlobal ? "-" : "")}{s.Name} = {s.Value}\n"));
}
