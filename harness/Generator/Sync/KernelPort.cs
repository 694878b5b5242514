using System.Net;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Conntrack;
using Conformance.Linux.Ipset;
using Conformance.Linux.Iptables;
using Conformance.Linux.Ipvs;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Linux.Processes;
using Conformance.Linux.Sysctls;

namespace Conformance.Generator.Sync;

/// <summary>
/// Where the generator touches the kernel: IPVS, sets and addresses over netlink, rules by iptables-restore(8), sysctls
/// by their files. All in one network namespace.
/// </summary>
public sealed class KernelPort : IDisposable
{
    private static readonly Dictionary<string, SetKey> s_sets =
        Decisions.Sets.All.SelectMany(d => new[] { new SetKey(d, false), new SetKey(d, true) })
            .ToDictionary(k => k.Name, k => k, StringComparer.Ordinal);

    private const int NoSuchFile = 2; // ENOENT of errno(3)
    private static readonly TimeSpan s_toolLimit = TimeSpan.FromSeconds(60);
    private readonly NetworkNamespace _namespace;
    private readonly IReadOnlyList<string> _before;
    private IptablesVariant _iptables;

    /// <param name="ns">The namespace to work in.</param>
    /// <param name="before">A command that is put before each tool.</param>
    /// <exception cref="GeneratorException">The kernel has no IPVS, or we may not use it.</exception>
    public KernelPort(NetworkNamespace ns, IptablesVariant iptables, IReadOnlyList<string>? before = null)
    {
        _namespace = ns;
        _before = before ?? [];
        _iptables = iptables;
        try
        {
            Ipvs = new IpvsSocket(ns);
            Ipset = new IpsetSocket(ns);
            Route = new RouteSocket(ns);
            Conntrack = new ConntrackSocket(ns);
        }
        catch (KernelException e)
        {
            throw new GeneratorException("The kernel's IPVS cannot be used.", e.Message, "Nothing was done.",
                "Be root (CAP_NET_ADMIN), on a kernel with IPVS: modprobe ip_vs", ExitCodes.CannotRunHere);
        }
    }

    /// <summary>Whether rules and addresses of IPv6 can be written: without them IPv6 is not served.</summary>
    public bool HasIPv6 => WhyNoIPv6 is null;

    /// <summary>Why IPv6 is not served; null when it is.</summary>
    public string? WhyNoIPv6 => !_iptables.HasIPv6 ? "ip6tables does not work on this kernel"
        : new[] { "default", "all" }.Select(d => $"net.ipv6.conf.{d}.disable_ipv6")
            .FirstOrDefault(s => Sysctl.TryRead(_namespace, s) != "0") is { } sysctl ? $"the sysctl {sysctl} is not 0"
        : null;

    /// <summary>Looks again whether ip6tables works, when it did not before.</summary>
    public void ProbeIPv6() => _iptables = _iptables.ProbeIPv6();

    /// <summary>Virtual and real servers.</summary>
    public IpvsSocket Ipvs { get; }

    /// <summary>Sets.</summary>
    public IpsetSocket Ipset { get; }

    /// <summary>Interfaces and addresses.</summary>
    public RouteSocket Route { get; }

    /// <summary>Connection tracking.</summary>
    public ConntrackSocket Conntrack { get; }

    /// <summary>Ends tools that run: a program that is to stop waits for none.</summary>
    public CancellationToken Stop { get; set; }

    /// <summary>How many messages and documents have been sent: what a change cost.</summary>
    public int Messages { get; set; }

    /// <param name="known">A state whose virtual servers and sets are known to be the kernel's still: they are taken from it.</param>
    public LiveState Read(GeneratorOptions options, LiveState? known = null)
    {
        var live = new LiveState
        {
            Iptables = ReadRules(ipv6: false),
            Ip6tables = ReadRules(ipv6: true),
            Timeouts = Ipvs.Timeouts(),
            Servers = known?.Servers ?? ReadServers()
        };
        if (known is null)
            ReadSets(live);
        else
            live.TakeSets(known);
        live.Bound = BoundAddresses();
        foreach (var sysctl in Sysctls.Of(options, servesIPv6: true))
        {
            // What the kernel lacks, or does not let this namespace write (the machine's own limits), is not ours to set.
            if (Sysctl.IsWritable(_namespace, sysctl.Name))
                live.Sysctls[sysctl.Name] = Sysctl.TryRead(_namespace, sysctl.Name) ?? "";
        }
        return live;
    }

    /// <summary>
    /// The tables of virtual servers and of our sets as the kernel prints them. As long as nobody changes them they stay
    /// the same, and need not be parsed and compared one by one.
    /// </summary>
    public byte[] ReadImage()
    {
        var image = new MemoryStream();
        ReadImage(image.Write);
        return image.ToArray();
    }

    /// <summary>Whether the tables are as an image shows them.</summary>
    public bool HasImage(byte[] image)
    {
        var (at, isSame) = (0, true);
        ReadImage(part =>
        {
            isSame = isSame && image.AsSpan(at).StartsWith(part);
            at += isSame ? part.Length : 0;
        });
        return isSame && at == image.Length;
    }

    private void ReadImage(Action<ReadOnlySpan<byte>> take)
    {
        IpvsTable.ReadImage(_namespace, take);
        Ipset.ReadImage(s_sets.ContainsKey, take);
    }

    /// <summary>Whether these are all virtual servers by address, with all that netlink tells of them but their real servers.</summary>
    internal bool HasVirtualServers(Dictionary<VirtualServerKey, LiveServer> servers)
    {
        var there = Ipvs.Services().Where(s => s.Key is not null).ToList();
        return there.Count == servers.Count && there.TrueForAll(s => servers.TryGetValue(s.Key!.Value, out var known)
            && known.Service == s);
    }

    /// <summary>The addresses of the node by its interfaces.</summary>
    public IReadOnlyList<IPAddress> NodeAddresses()
    {
        var device = Route.Links().FirstOrDefault(l => l.Name == DocumentSet.Device)?.Index ?? -1;
        return [.. Route.Addresses().Where(a => a.LinkIndex != device && NodeStates.IsNodeAddress(a.Address)).Select(a => a.Address)];
    }

    /// <exception cref="GeneratorException">The tool failed, or is missing.</exception>
    public void Restore(bool ipv6, string document)
    {
        Messages++;
        Run(_iptables.Restore(ipv6), ["--wait", "5", "--noflush"], document);
    }

    /// <summary>
    /// The settings whose sysctl is ours to write here, and has another value. Where no Service has been read yet, the networks of the pods
    /// tell whether there will be some of IPv6.
    /// </summary>
    internal IEnumerable<SysctlSetting> UnmetSysctls(GeneratorOptions options) => Sysctls.Of(options,
        servesIPv6: HasIPv6 && options.ClusterCidrOf(System.Net.Sockets.AddressFamily.InterNetworkV6) is not null)
        .Where(s => Sysctl.IsWritable(_namespace, s.Name) && !s.IsMetBy(Sysctl.TryRead(_namespace, s.Name) ?? ""));

    /// <summary>Sets a sysctl.</summary>
    /// <exception cref="KernelException">The kernel refused the value.</exception>
    public void WriteSysctl(SysctlSetting setting) => Sysctl.Write(_namespace, setting.Name, setting.Value);

    /// <inheritdoc/>
    public void Dispose()
    {
        Ipvs.Dispose();
        Ipset.Dispose();
        Route.Dispose();
        Conntrack.Dispose();
    }

    private LiveRules ReadRules(bool ipv6) =>
        LiveRules.Parse((ipv6 && !HasIPv6) || !_iptables.MayHaveRules(_namespace, ipv6) ? ""
            : Run(_iptables.Save(ipv6), [], input: null));

    private string Run(string tool, IReadOnlyList<string> arguments, string? input)
    {
        try
        {
            var result = Tool.Run([.. _before, tool, .. arguments], input, s_toolLimit, Stop, _namespace);
            return result.ExitCode == 0 ? result.Output
                : throw new GeneratorException($"{tool} failed.", result.Error.Trim(), "The rules are as they were.",
                    "See what it says; the next sync tries again.");
        }
        catch (KernelException e)
        {
            var isMissing = e.Errno == NoSuchFile;
            throw new GeneratorException($"{tool} cannot be started.", e.Message, "The rules are as they were.",
                isMissing ? "apt-get install iptables" : "Raise the limit that the evidence names; the next sync tries again.",
                isMissing ? ExitCodes.CannotRunHere : ExitCodes.Failed);
        }
        catch (OperationCanceledException) when (!Stop.IsCancellationRequested)
        {
            throw new GeneratorException($"{tool} did not end.", $"It was killed after {s_toolLimit.TotalSeconds} s.",
                "The rules are as they were.", "See who holds iptables' lock; the next sync tries again.");
        }
    }

    /// <summary>
    /// The real servers by one read of the kernel's table: a request for each virtual server would take a second for ten thousand.
    /// </summary>
    private Dictionary<VirtualServerKey, LiveServer> ReadServers()
    {
        var servers = new Dictionary<VirtualServerKey, LiveServer>();
        var services = Ipvs.Services();
        foreach (var service in services)
        {
            if (service.Key is { } key)
                servers[key] = new LiveServer(service);
        }
        if (servers.Count == 0)
            return servers;
        foreach (var entry in IpvsTable.Read(_namespace, Ipvs, services).VirtualServers)
        {
            if (entry.Server.Key is not { } key || !servers.TryGetValue(key, out var server))
                continue;
            foreach (var real in entry.RealServers)
                server.RealServers[real.Key] = real;
        }
        return servers;
    }

    private void ReadSets(LiveState live)
    {
        foreach (var set in Ipset.List())
        {
            if (!s_sets.TryGetValue(set.Name, out var key))
                continue;
            if (set.Type == key.Definition.Type && (set.IsIPv6 == key.IsIPv6 || set.Type == IpsetType.BitmapPort))
                live.Sets[set.Name] = [.. set.Entries];
            else
                live.ForeignTypes[set.Name] = set.TypeName;
        }
    }

    private Dictionary<IPAddress, List<BoundAddress>>? BoundAddresses() => Route.Links()
        .FirstOrDefault(l => l.Name == DocumentSet.Device) is not { } device ? null
        : Route.Addresses().Where(a => a.LinkIndex == device.Index && !a.Address.IsIPv6LinkLocal)
            .GroupBy(a => a.Address).ToDictionary(g => g.Key, g => g.Select(a => new BoundAddress(a.PrefixLength, a.IsSource)).ToList());
}
