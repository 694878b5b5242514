using System.Net;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sync;
using Conformance.Labs;

namespace Conformance.Tests.Generator;

/// <summary>
/// The rules through iptables-nft, on whatever kernel this machine has. Where it has no IPVS the few rules that match
/// IPVS connections (source ranges that keep the node itself out) are left out: IPVS and nft together are only tested
/// where one kernel has both.
/// </summary>
public sealed class NftVariantTests
{
    private static readonly string s_golden = Path.Combine(ProjectFolder.Root, "harness", "KernelTests", "Generator", "golden");
    private static readonly IPAddress[] s_addresses = [IPAddress.Parse("192.168.113.101"), IPAddress.Parse("fd00:113::101")];
    private string _folder = null!;

    [OneTimeSetUp]
    public async Task IsThereNft()
    {
        _folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "nft")).FullName;
        var probe = await InNamespaceAsync(
            "iptables-nft -t nat -A POSTROUTING -j MASQUERADE && ipset create probe hash:ip && iptables-nft -A INPUT -m set --match-set " +
            "probe dst -j DROP && ip6tables-nft -A INPUT -j DROP");
        if (!probe.IsSuccess)
            Assert.Ignore($"not testable: this kernel, or this user, has no nftables with ipset in a namespace: " +
                $"{probe.StandardError.Trim()}");
    }

    [Test]
    public async Task What_iptables_nft_has_loaded_is_no_difference([Values] bool compat)
    {
        var rules = new List<(string Name, bool IsIPv6, RuleSet Rules)>();
        var script = new StringWriter();
        foreach (var scenario in Directory.GetDirectories(s_golden).Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileName(scenario);
            var options = new GeneratorOptions
            {
                CompatKubeProxy = compat,
                HostnameOverride = "node1",
                ClusterCidr = [IPNetwork.Parse("10.244.0.0/16"), IPNetwork.Parse("fd00:10:244::/56")]
            };
            var cluster = Source.Read([Path.Combine(scenario, "input.yaml")], _ => { });
            var node = NodeStates.Of(options, cluster, s_addresses);
            var desired = new World(options, node, cluster).Desired;
            DocumentSet.Of(desired, node).Write(Path.Combine(_folder, name));
            script.WriteLine($"cd {_folder}/{name} && ipset restore < ipset.txt");
            foreach (var ipv6 in new[] { false, true })
            {
                var tool = ipv6 ? "ip6tables" : "iptables";
                script.WriteLine($"{(HasIpvs ? "cat" : "grep -v -e '-m ipvs'")} {tool}.txt | {tool}-nft-restore && {tool}-nft-save > " +
                    $"{tool}-saved.txt && {tool}-nft -F && {tool}-nft -t nat -F && {tool}-nft -X && {tool}-nft -t nat -X || exit 1");
                rules.Add((name, ipv6, new RuleSet(desired, node, ipv6)));
            }
            script.WriteLine("ipset destroy");
        }

        var loaded = await InNamespaceAsync($"set -e; {script}");

        loaded.ExitCode.ShouldBe(0, loaded.StandardError);
        foreach (var (name, ipv6, wanted) in rules)
        {
            var live = LiveRules.Parse(
                await File.ReadAllTextAsync(Path.Combine(_folder, name, $"{(ipv6 ? "ip6tables" : "iptables")}-saved.txt")));
            RuleChanges.Of(wanted, live, ipv6, removesLeftovers: true).List.Where(c => HasIpvs
                || !c.What.Contains("-m ipvs", StringComparison.Ordinal)).ShouldBeEmpty(name);
        }
    }

    private static bool HasIpvs => File.Exists("/proc/net/ip_vs");

    private static async Task<BufferedCommandResult> InNamespaceAsync(string script) =>
        await CliWrap.Cli.Wrap("unshare").WithArguments(["--map-root-user", "--net", "bash", "-c", script])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync();
}
