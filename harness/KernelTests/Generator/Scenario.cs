using System.Net;
using System.Text.RegularExpressions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Verbs;
using Conformance.Labs;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// One recording of a real kube-proxy v1.30.5 in IPVS mode: its input, its flags, and the kernel state that it made
/// (golden/README.md). Other state of the recording's machine is supplied here.
/// </summary>
internal sealed class Scenario
{
    private readonly string _folder;

    private Scenario(string folder) => _folder = folder;

    internal static string Root { get; } = Path.Combine(ProjectFolder.Root, "harness", "KernelTests", "Generator", "golden");

    internal static IEnumerable<string> Names => Directory.GetDirectories(Root).Select(f => Path.GetFileName(f))
        .Order(StringComparer.Ordinal);

    internal static Scenario Load(string name) => new(Path.Combine(Root, name));

    /// <summary>The addresses of the recording's eth0 and cni0.</summary>
    internal IReadOnlyList<string> Addresses => HasIPv6
        ? ["192.168.113.101/24", "10.244.0.1/24", "fd00:113::101/64", "fd00:10:244::1/64"]
        : ["192.168.113.101/24", "10.244.0.1/24"];

    internal IReadOnlyList<IPAddress> NodeAddresses => [.. Addresses.Select(a => IPAddress.Parse(a.Split('/')[0]))];

    internal string InputFile => Path.Combine(_folder, "input.yaml");

    /// <summary>Whether the machine had state of others, or of an earlier proxy, before the recording.</summary>
    internal bool BeganInUse => File.Exists(Path.Combine(_folder, "pre.sh"));

    private bool HasIPv6 => Env("IPV6") == "1";

    /// <summary>The objects of the recording, its node1 among them.</summary>
    internal Cluster ReadCluster()
    {
        var problems = new List<InputProblem>();
        var cluster = Source.Read([InputFile], problems.Add);
        problems.ShouldAllBe(p => p.Effect == ProblemEffect.NotOurs);
        cluster.Put(Node());
        return cluster;
    }

    internal GeneratorOptions Options(string extraFlags = "", bool replacesFlags = false)
    {
        var cidr = Env("CIDR") ?? "--cluster-cidr=10.244.0.0/16";
        var flags = replacesFlags ? extraFlags : $"{Env("FLAGS")} {extraFlags}";
        return Flags.Of([("compat", "kube-proxy"), ("hostname-override", "node1"),
            .. $"{cidr} {flags}".Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Parse)]) with
        {
            ConntrackMaxPerCore = 32768,
        };
    }

    internal NodeObject Node()
    {
        var addresses = Env("NODEIPS") ?? "192.168.113.101";
        return new NodeObject("node1", "zone-a", [IPNetwork.Parse("10.244.0.0/24")], [.. addresses.Split(' ').Select(IPAddress.Parse)]);
    }

    /// <summary>A file of a recorded state; empty when the recording has none.</summary>
    internal string Recorded(string file, string state = "state") =>
        Path.Combine(_folder, state, file) is var path && File.Exists(path) ? File.ReadAllText(path) : "";

    internal string Read(string file) => File.ReadAllText(Path.Combine(_folder, file));

    private static (string, string) Parse(string flag)
    {
        var parts = flag.TrimStart('-').Split('=', 2);
        return (parts[0], parts.Length > 1 ? parts[1] : "true");
    }

    private string? Env(string name)
    {
        var path = Path.Combine(_folder, "env");
        if (!File.Exists(path))
            return null;
        var match = Regex.Match(File.ReadAllText(path), $"(^|\\s){name}=(\"(?<value>[^\"]*)\"|(?<value>\\S+))",
            RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1));
        return match.Success ? match.Groups["value"].Value : null;
    }
}
