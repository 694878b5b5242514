using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Topologies;

namespace Conformance.KernelTests.Generator;

/// <summary>
/// The generator under --compat kube-proxy against what was recorded of a real kube-proxy: the documents are loaded into
/// a real kernel by the stock tools, read back, and compared line by line.
/// </summary>
[Parallelizable(ParallelScope.All)]
public sealed class GoldenTests
{
    /// <summary>The documents are for a kernel that has its modules loaded; apply.sh sees to that by itself.</summary>
    [OneTimeSetUp]
    public void LoadModules() => KernelFeatures.Current.Has(Feature.Ipvs).ShouldBeTrue();

    /// <summary>The recordings that began on a machine in use are no business of documents but of apply.</summary>
    private static IEnumerable<string> FreshStarts => Scenario.Names.Where(n => !Scenario.Load(n).BeganInUse);

    [TestCaseSource(nameof(FreshStarts))]
    public async Task Documents_make_the_state_that_was_recorded(string name)
    {
        var scenario = Scenario.Load(name);
        await using var lab = await Lab.StartAsync(Topology.Load("generator-node"), capture: false);
        var node = lab["node1"];
        PrepareMachine(node, scenario);
        var options = scenario.Options();
        var state = NodeStates.Of(options, scenario.ReadCluster(), scenario.NodeAddresses);
        var folder = Path.Combine(RunFolder.Current, "golden", name);
        var documents = DocumentSet.Of(new World(options, state, scenario.ReadCluster()).Desired, state);
        documents.Write(folder);

        await LoadAsync(node, folder, inOtherOrder: name.Sum(c => c) % 2 == 0);

        (await KernelState.ReadAsync(node)).Differences(KernelState.Of(scenario)).ShouldBeEmpty(name);
        // The machine's own limits, which a namespace cannot set, stand in the document alone.
        var max = options.ConntrackMax(Environment.ProcessorCount);
        documents.Sysctls.ShouldContain(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"nf_conntrack_max = {max}\n"));
        documents.Sysctls.ShouldContain(string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"# at least: net.netfilter.nf_conntrack_buckets = {max / 4}\n"));
        scenario.Recorded("sysctls.txt")
            .ShouldContain(string.Create(System.Globalization.CultureInfo.InvariantCulture,
                $"nf_conntrack_max = {options.ConntrackMax(processors: 1)}\n"));
    }

    /// <summary>eth0 and cni0 with the recording's addresses. The virtual servers' schedulers are modules.</summary>
    internal static void PrepareMachine(Node node, Scenario scenario)
    {
        node.Route.AddBridge("cni0");
        node.Route.SetLink("cni0");
        foreach (var address in scenario.Addresses.Skip(1))
        {
            var parts = address.Split('/');
            node.Route.AddAddress(parts[0].Contains("10:244", StringComparison.Ordinal) || parts[0]
                .StartsWith("10.", StringComparison.Ordinal) ? "cni0" : "eth0", System.Net.IPAddress.Parse(parts[0]),
                int.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    /// <summary>Each tool by itself. Any order will do in which ipset comes before iptables, with --noflush or without.</summary>
    internal static async Task LoadAsync(Node node, string folder, bool inOtherOrder = false)
    {
        const string script = """
            sysctl -q -p sysctls.txt; ipset restore -file ipset.txt; iptables-restore iptables.txt; ip6tables-restore ip6tables.txt
            ip -batch addresses.txt; ipvsadm -R < ipvsadm.txt
            """;
        const string otherScript = """
            ipvsadm -R < ipvsadm.txt; ip -batch addresses.txt; ipset restore -file ipset.txt
            ip6tables-restore --noflush ip6tables.txt; iptables-restore --noflush iptables.txt; sysctl -q -p sysctls.txt
            """;
        var result = await node.Command("sh", "-c", $"set -e; cd {folder}\n{(inOtherOrder ? otherScript : script)}").ExecuteAsync();
        result.StandardError.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Where(l => !l.Contains("nf_conntrack_max", StringComparison.Ordinal)).ShouldBeEmpty();
    }
}
