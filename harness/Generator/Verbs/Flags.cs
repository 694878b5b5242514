using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Verbs;

/// <summary>
/// The configuration as flags, and as a file with the same names as keys (<c>--config</c>; a flag wins). What means the
/// same as a flag of kube-proxy has its name.
/// </summary>
internal sealed partial class Flags
{
    /// <summary>The longest time of .NET's timers.</summary>
    private const int MaxPeriodSeconds = 49 * 24 * 3600;

    private sealed record Flag(string Name, string Description, Func<GeneratorOptions, string, GeneratorOptions> Apply,
        bool IsSwitch = false);

    private static readonly Flag[] s_flags =
    [
        new("compat", "kube-proxy: exactly the state that kube-proxy's IPVS mode makes, faults included; none (default).",
            (o, v) => o with { CompatKubeProxy = OneOf(v, "none", "kube-proxy") == "kube-proxy" }),
        new("hostname-override", "Name of this Node. Default: the host's name.", (o, v) => NodeName(v) is { Length: > 0 } name
            ? o with { HostnameOverride = name } : o),
        new("cluster-cidr", "Networks of all pods, one for each family, with a comma between.",
            (o, v) => o with { ClusterCidr = Networks(v) }),
        new("detect-local-mode", "How pods are recognized: ClusterCIDR (default), NodeCIDR, BridgeInterface, InterfaceNamePrefix.",
            (o, v) => o with { DetectLocalMode = Enum.Parse<DetectLocalMode>(OneOf(v, Enum.GetNames<DetectLocalMode>())) }),
        new("pod-bridge-interface", "The bridge of the pods, for BridgeInterface.",
            (o, v) => o with { PodBridgeInterface = InterfaceName(v) }),
        new("pod-interface-name-prefix", "How the names of the pods' interfaces begin, for InterfaceNamePrefix.",
            (o, v) => o with { PodInterfaceNamePrefix = InterfacePrefix().IsMatch(v) ? v
            : throw Wrong("must be the beginning of interfaces' names, at most 14 characters") }),
        new("ipvs-scheduler", "Scheduler of Services that choose none: rr (default), wrr, lc, wlc, sh, dh, sed, nq, mh, ...",
            (o, v) => o with { IpvsScheduler = v.Length == 0 ? "rr" : Scheduler.IsName(v) ? v
            : throw Wrong("must be a scheduler's name") }),
        new("ipvs-strict-arp", "Set arp_ignore=1 and arp_announce=2.", (o, v) => o with { IpvsStrictArp = Bool(v) }, IsSwitch: true),
        new("ipvs-exclude-cidrs", "Networks whose virtual servers and addresses are somebody else's.",
            (o, v) => o with { IpvsExcludeCidrs = Networks(v) }),
        new("ipvs-tcp-timeout", "Idle time-out of TCP connections; 0 leaves the kernel's.",
            (o, v) => o with { IpvsTcpTimeoutSeconds = Seconds(v) }),
        new("ipvs-tcpfin-timeout", "Time-out of TCP connections after a FIN; 0 leaves the kernel's.",
            (o, v) => o with { IpvsTcpFinTimeoutSeconds = Seconds(v) }),
        new("ipvs-udp-timeout", "Time-out of UDP; 0 leaves the kernel's.", (o, v) => o with { IpvsUdpTimeoutSeconds = Seconds(v) }),
        new("masquerade-all", "Masquerade everything that goes to a ClusterIP.", (o, v) => o with { MasqueradeAll = Bool(v) },
            IsSwitch: true),
        new("iptables-masquerade-bit", "Bit of the packet mark that asks for masquerading, 0 to 31 (14).",
            (o, v) => o with { IptablesMasqueradeBit = Number(v, 0, 31) }),
        new("nodeport-addresses",
            "Networks whose node addresses serve node ports, or primary for the node's first address of each family; none means all.",
            (o, v) => v.Trim() == "primary" ? o with { NodePortsOnPrimaryAddress = true, NodePortAddresses = [] }
            : o with { NodePortAddresses = Networks(v), NodePortsOnPrimaryAddress = false }),
        new("refuse-node-addresses",
            "Do not serve an external or load-balancer IP that is another Node's InternalIP: it would cut this node off from that one.",
            (o, v) => o with { RefuseNodeAddresses = Bool(v) }, IsSwitch: true),
        new("conntrack-max-per-core", "Connections to track for each processor (32768); 0 leaves the kernel's.",
            (o, v) => o with { ConntrackMaxPerCore = Number(v, 0, int.MaxValue) }),
        new("conntrack-min", "Connections to track at least (131072).", (o, v) => o with { ConntrackMin = Number(v, 0, int.MaxValue) }),
        new("conntrack-tcp-timeout-established", "Idle time-out of tracked TCP connections (24h).",
            (o, v) => o with { ConntrackTcpTimeoutEstablishedSeconds = Seconds(v) }),
        new("conntrack-tcp-timeout-close-wait", "Time-out in CLOSE_WAIT (1h).",
            (o, v) => o with { ConntrackTcpTimeoutCloseWaitSeconds = Seconds(v) }),
        new("conntrack-tcp-be-liberal", "Set nf_conntrack_tcp_be_liberal=1.", (o, v) => o with { ConntrackTcpBeLiberal = Bool(v) },
            IsSwitch: true),
        new("conntrack-udp-timeout", "Time-out of tracked UDP; 0 leaves the kernel's.",
            (o, v) => o with { ConntrackUdpTimeoutSeconds = Seconds(v) }),
        new("ipvs-sync-period", "Between two looks for drift, of watch (30s).",
            (o, v) => o with { IpvsSyncPeriod = Period(v) is var period && period >= TimeSpan.FromMilliseconds(1) ? period
            : throw Wrong("must be 1ms or longer") }),
        new("ipvs-min-sync-period", "At least between two syncs of watch (0s).", (o, v) => o with { IpvsMinSyncPeriod = Period(v) }),
        new("healthz-bind-address", "Where watch serves /healthz and /livez (0.0.0.0:10256); empty for nowhere.",
            (o, v) => o with { HealthzBindAddress = EndPoint(v) }),
        new("metrics-bind-address", "Where watch serves /metrics (127.0.0.1:10249); empty for nowhere.",
            (o, v) => o with { MetricsBindAddress = EndPoint(v) }),
        new("conntrack-udp-timeout-stream", "Time-out of tracked UDP streams; 0 leaves the kernel's.",
            (o, v) => o with { ConntrackUdpTimeoutStreamSeconds = Seconds(v) }),
    ];

    private readonly Dictionary<string, Option<string?>> _options = new(StringComparer.Ordinal);

    private readonly Option<string?> _config =
        new("--config") { Description = "A YAML file with these flags' names as keys, or kube-proxy's own (KubeProxyConfiguration)." };

    internal void AddTo(Command verb)
    {
        verb.Options.Add(_config);
        foreach (var flag in s_flags)
        {
            var option = new Option<string?>($"--{flag.Name}")
            {
                Description = flag.Description,
                Arity = flag.IsSwitch
                ? ArgumentArity.ZeroOrOne : ArgumentArity.ExactlyOne
            };
            _options[flag.Name] = option;
            verb.Options.Add(option);
        }
    }

    /// <exception cref="GeneratorException">A value is not what the flag takes.</exception>
    internal GeneratorOptions Read(ParseResult parsed)
    {
        var fromFile = parsed.GetValue(_config) is { } config ? ConfigFile.Read(config, [.. s_flags.Select(f => f.Name)],
            Console.Error.WriteLine) : [];
        var options = new GeneratorOptions
        {
            HostnameOverride = NodeName(Dns.GetHostName()),
            Kubeconfig = fromFile.GetValueOrDefault(ConfigFile.Kubeconfig)
        };
        foreach (var flag in s_flags)
        {
            var given = parsed.GetResult(_options[flag.Name]) is not null;
            var value = given ? parsed.GetValue(_options[flag.Name]) ?? "true" : fromFile.GetValueOrDefault(flag.Name);
            if (value is not null)
                options = Apply(options, flag, value, given ? $"--{flag.Name}" : $"{flag.Name} of {parsed.GetValue(_config)}");
        }
        return Together(options);
    }

    /// <summary>What each flag by itself cannot tell.</summary>
    private static GeneratorOptions Together(GeneratorOptions options)
    {
        var wrong = options switch
        {
            { DetectLocalMode: DetectLocalMode.BridgeInterface, PodBridgeInterface: "" } =>
                ("--detect-local-mode BridgeInterface needs --pod-bridge-interface.", "Without it nothing says which bridge.",
                    "Such as --pod-bridge-interface cni0"),
            { DetectLocalMode: DetectLocalMode.InterfaceNamePrefix, PodInterfaceNamePrefix: "" } =>
                ("--detect-local-mode InterfaceNamePrefix needs --pod-interface-name-prefix.",
                    "Without it nothing says how the names begin.", "Such as --pod-interface-name-prefix veth"),
            _ when options.IpvsMinSyncPeriod > options.IpvsSyncPeriod =>
                ("--ipvs-min-sync-period is longer than --ipvs-sync-period.",
                    $"{options.IpvsMinSyncPeriod.TotalSeconds} s and {options.IpvsSyncPeriod.TotalSeconds} s",
                    "The look for drift would always come late; make the one shorter or the other longer"),
            _ when options.ClusterCidr.CountBy(c => c.BaseAddress.AddressFamily).Any(f => f.Value > 1) =>
                ("--cluster-cidr has two networks of one family.", string.Join(", ", options.ClusterCidr),
                    "One network for each family, that all pods are in"),
            _ => ((string What, string Evidence, string Fix)?)null,
        };
        return wrong is { } w ? throw new GeneratorException(w.Item1, w.Item2, "Nothing was done.", w.Item3, ExitCodes.Usage) : options;
    }

    /// <summary>Options out of names and values, for tests.</summary>
    internal static GeneratorOptions Of(IEnumerable<(string Name, string Value)> values) =>
        values.Aggregate(new GeneratorOptions(), (options, v) => Apply(options, s_flags.Single(f => f.Name == v.Name), v.Value, v.Name));

    private static GeneratorOptions Apply(GeneratorOptions options, Flag flag, string value, string where)
    {
        try
        {
            return flag.Apply(options, value);
        }
        catch (FormatException e)
        {
            throw new GeneratorException($"{where} {e.Message}.", $"It is '{value}'.", "Nothing was done.",
                $"{flag.Name}: {flag.Description}", ExitCodes.Usage);
        }
    }

    private static FormatException Wrong(string message) => new(message);

    private static string OneOf(string value, params string[] words) => words.Contains(value, StringComparer.Ordinal) ? value
        : throw Wrong($"must be one of {string.Join(", ", words)}");

    private static bool Bool(string value) => OneOf(value, "true", "false") == "true";

    /// <summary>A Node is called by its host's name in lower case (nodeutil.GetHostname).</summary>
    private static string NodeName(string value) => value.Trim().ToLowerInvariant();

    private static int Number(string value, int min, int max) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= min && number <= max
            ? number : throw Wrong(string.Create(CultureInfo.InvariantCulture, $"must be a number of {min} to {max}"));

    private static IReadOnlyList<IPNetwork> Networks(string value) =>
        [.. value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(n => Addresses.ParseNetwork(n) ?? throw Wrong("must be networks such as 10.0.0.0/8, with commas between"))];

    internal static IReadOnlyList<IPAddress> IpAddresses(string value) =>
        [.. value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(a => Addresses.Parse(a) ?? throw Wrong("must be addresses, with commas between"))];

    /// <summary>Interface names stand in rules: nothing else may come with them.</summary>
    private static string InterfaceName(string value) => Interface().IsMatch(value) ? value : throw Wrong("must be an interface's name");

    private static IPEndPoint? EndPoint(string value)
    {
        if (value.Length == 0)
            return null;
        return IPEndPoint.TryParse(value, out var endPoint) && endPoint.Port > 0 ? endPoint
            : throw Wrong("must be an address with a port, such as 0.0.0.0:10256 or [::]:10256");
    }

    /// <summary>A duration in whole seconds, as the kernel takes it; what is less falls away, as with kube-proxy.</summary>
    private static int Seconds(string value) => Period(value).TotalSeconds is var seconds && seconds <= int.MaxValue ? (int)seconds
        : throw Wrong("must be shorter");

    /// <summary>A duration as Go writes it (time.ParseDuration): 10s, 1m30s, 500ms, 1.5h.</summary>
    private static TimeSpan Period(string value)
    {
        if (value == "0")
            return TimeSpan.Zero;
        var match = Duration().Match(value);
        if (value.Length == 0 || !match.Success)
            throw Wrong("must be a time such as 30s, 500ms or 1h30m");
        var seconds = match.Groups["number"].Captures.Zip(match.Groups["unit"].Captures).Sum(part =>
            double.Parse(part.First.ValueSpan, CultureInfo.InvariantCulture) * part.Second.Value switch
            {
                "h" => 3600,
                "m" => 60,
                "s" => 1,
                "ms" => 1e-3,
                "ns" => 1e-9,
                _ => 1e-6
            });
        return seconds <= MaxPeriodSeconds ? TimeSpan.FromSeconds(seconds) : throw Wrong("must be shorter: 49 days are the most");
    }

    [GeneratedRegex(@"\A((?<number>\d{1,12}(\.\d{1,9})?)(?<unit>h|ms|m|s|us|\u00b5s|ns))+\z", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Duration();

    /// <summary>A name that has room for the + behind a prefix (IFNAMSIZ).</summary>
    [GeneratedRegex(@"\A[A-Za-z0-9_.-]{1,14}\z", RegexOptions.None, 1000)]
    private static partial Regex InterfacePrefix();

    [GeneratedRegex(@"\A[A-Za-z0-9_.-]{1,15}\z", RegexOptions.None, 1000)]
    private static partial Regex Interface();
}
