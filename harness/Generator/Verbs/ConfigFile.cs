using Conformance.Generator.Sources;
using Conformance.Linux;

namespace Conformance.Generator.Verbs;

/// <summary>
/// A file of settings: keys with the flags' names, or a KubeProxyConfiguration as kubeadm stores it (kube-proxy's --config).
/// </summary>
internal static class ConfigFile
{
    /// <summary>The key of what no flag of the options is: where the API server is.</summary>
    internal const string Kubeconfig = "kubeconfig";

    private const string KubeProxyGroup = "kubeproxy.config.k8s.io/";

    /// <summary>The fields of KubeProxyConfiguration v1alpha1 that mean a flag of ours.</summary>
    private static readonly Dictionary<string, string> s_flagOfField = new(StringComparer.Ordinal)
    {
        ["hostnameOverride"] = "hostname-override",
        ["clusterCIDR"] = "cluster-cidr",
        ["detectLocalMode"] = "detect-local-mode",
        ["detectLocal.bridgeInterface"] = "pod-bridge-interface",
        ["detectLocal.interfaceNamePrefix"] = "pod-interface-name-prefix",
        ["ipvs.scheduler"] = "ipvs-scheduler",
        ["ipvs.strictARP"] = "ipvs-strict-arp",
        ["ipvs.excludeCIDRs"] = "ipvs-exclude-cidrs",
        ["ipvs.syncPeriod"] = "ipvs-sync-period",
        ["ipvs.minSyncPeriod"] = "ipvs-min-sync-period",
        ["ipvs.tcpTimeout"] = "ipvs-tcp-timeout",
        ["ipvs.tcpFinTimeout"] = "ipvs-tcpfin-timeout",
        ["ipvs.udpTimeout"] = "ipvs-udp-timeout",
        ["iptables.masqueradeAll"] = "masquerade-all",
        ["iptables.masqueradeBit"] = "iptables-masquerade-bit",
        ["nodePortAddresses"] = "nodeport-addresses",
        ["conntrack.maxPerCore"] = "conntrack-max-per-core",
        ["conntrack.min"] = "conntrack-min",
        ["conntrack.tcpEstablishedTimeout"] = "conntrack-tcp-timeout-established",
        ["conntrack.tcpCloseWaitTimeout"] = "conntrack-tcp-timeout-close-wait",
        ["conntrack.tcpBeLiberal"] = "conntrack-tcp-be-liberal",
        ["conntrack.udpTimeout"] = "conntrack-udp-timeout",
        ["conntrack.udpStreamTimeout"] = "conntrack-udp-timeout-stream",
        ["healthzBindAddress"] = "healthz-bind-address",
        ["metricsBindAddress"] = "metrics-bind-address",
        ["clientConnection.kubeconfig"] = Kubeconfig,
    };

    /// <summary>The field whose zero asks for kube-proxy's default (SetDefaults_KubeProxyConfiguration).</summary>
    private const string DefaultedAtZero = "ipvs.syncPeriod";

    /// <summary>The ports of addresses that are given without one.</summary>
    private static readonly Dictionary<string, int> s_ports =
        new(StringComparer.Ordinal) { ["healthzBindAddress"] = 10256, ["metricsBindAddress"] = 10249 };

    /// <param name="settings">The names that a key may have.</param>
    /// <param name="warn">Called with what is there and has no meaning here.</param>
    /// <returns>Values by the flags' names.</returns>
    /// <exception cref="GeneratorException">The file cannot be read, or a key is no setting.</exception>
    internal static Dictionary<string, string> Read(string path, IReadOnlyCollection<string> settings, Action<string> warn)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        try
        {
            YamlTrees.Read(Source.ReadSettings(path).TrimStart('\uFEFF'), 1, (tree, _) =>
            {
                if (tree.Kind is not (TreeKind.Mapping or TreeKind.Null))
                    throw new SyntaxException(tree.Line, "the settings must be keys with values");
                if (tree.Refused is { } refused)
                    throw new SyntaxException(refused.Line, refused.Text);
                if (tree["apiVersion"]?.Text.StartsWith(KubeProxyGroup, StringComparison.Ordinal) == true)
                    ReadKubeProxy(tree, path, values, warn);
                else
                    ReadOwn(tree, settings, values);
            });
        }
        catch (Exception e) when (e is SyntaxException or IOException or UnauthorizedAccessException)
        {
            throw new GeneratorException("The configuration cannot be read.",
                Printable.Of($"{path}{(e is SyntaxException s ? $":{s.Line}" : "")}: {e.Message}"), "Nothing was done.",
                "Correct the file; --help lists the settings.", ExitCodes.Usage);
        }
        return values;
    }

    private static void ReadOwn(Tree tree, IReadOnlyCollection<string> settings, Dictionary<string, string> values)
    {
        foreach (var (key, value) in tree.Members)
        {
            if (!settings.Contains(key))
                throw new SyntaxException(value.Line, $"'{key}' is not a setting");
            values[key] = TextOf(key, value);
        }
    }

    /// <summary>
    /// As kube-proxy reads its file: what is null or empty has its default. Fields that mean nothing here are named on stderr, since who
    /// wrote them expects something of them.
    /// </summary>
    private static void ReadKubeProxy(Tree tree, string path, Dictionary<string, string> values, Action<string> warn)
    {
        if (tree["kind"]?.Text != "KubeProxyConfiguration")
            throw new SyntaxException(tree.Line, $"the kind must be KubeProxyConfiguration, not '{tree["kind"]?.Text}'");
        if (tree["apiVersion"]!.Text != $"{KubeProxyGroup}v1alpha1")
            throw new SyntaxException(tree["apiVersion"]!.Line,
                $"the apiVersion must be {KubeProxyGroup}v1alpha1, not '{tree["apiVersion"]!.Text}'");
        var others = new List<string>();
        foreach (var (field, value) in tree.Members.SelectMany(m => m.Value.Kind == TreeKind.Mapping
            ? m.Value.Members.Select(n => (Field: $"{m.Key}.{n.Key}", n.Value)) : [(Field: m.Key, m.Value)]))
        {
            if (field is "apiVersion" or "kind" || (field == "mode" && value.Text == "ipvs") || IsUnset(value))
                continue;
            if (!s_flagOfField.TryGetValue(field, out var flag))
            {
                if (!IsZero(value))
                    others.Add(field == "mode" ? $"mode ({value.Text}; this program has ipvs alone)" : field);
            }
            else if (TextOf(field, value) is var text && !(field == DefaultedAtZero && text is "0s" or "0"))
                values[flag] = s_ports.TryGetValue(field, out var port) && Addresses.Parse(text) is { } address
                    ? new System.Net.IPEndPoint(address, port).ToString() : text;
        }
        if (others.Count > 0)
            warn(Printable.Of($"{path}: without a meaning here: {string.Join(", ", others)}"));
    }

    /// <summary>What kubeadm writes for a field that nobody set.</summary>
    private static bool IsUnset(Tree value) => value.Kind == TreeKind.Null
        || (value is { Kind: not TreeKind.Refused, Text: "" } && value.Items.Count + value.Members.Count == 0);

    private static bool IsZero(Tree value) => IsUnset(value) || value.Text is "0" or "0s" or "false"
        || (value.Members.Count > 0 && value.Members.All(m => IsZero(m.Value)));

    private static string TextOf(string key, Tree value)
    {
        if (value.Kind is TreeKind.Mapping or TreeKind.Refused || value.Items.Any(i => i.Kind is not (TreeKind.Plain or TreeKind.Text)))
            throw new SyntaxException(value.Line, $"'{key}' must be a value, or a list of values");
        return value.Kind == TreeKind.Sequence ? string.Join(',', value.Items.Select(i => i.Text)) : value.Text;
    }
}
