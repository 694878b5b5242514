using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Decisions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Mutants;
using Conformance.Mutants.Faults;

namespace Conformance.Tests.Generator;

/// <summary>No rule, jump, set and sysctl of the generator is without a mutant.</summary>
public sealed class MutantTests
{
    private static readonly NodeState s_node = new("node1", [IPAddress.Parse("192.168.113.101"), IPAddress.Parse("fd00:113::101")], null,
        [], [IPAddress.Parse("192.168.113.101"), IPAddress.Parse("fd00:113::101")])
    { ServesIPv6 = true };

    private static readonly GeneratorOptions s_options = new()
    {
        HostnameOverride = "node1",
        ClusterCidr = [IPNetwork.Parse("10.244.0.0/16"), IPNetwork.Parse("fd00:10:244::/56")],
        ConntrackMaxPerCore = 0,
    };

    private static IReadOnlyList<Mutant> All { get; } = Mutant.Load();

    private static IEnumerable<Fault> Faults => All.Select(m => m.Fault);

    [TestCase(false)]
    [TestCase(true)]
    public void Each_rule_and_jump_can_be_missing(bool isIPv6)
    {
        var rules = new RuleSet(DesiredState(), s_node, isIPv6).ToDocument(withJumps: true);
        var lines = rules.Split('\n').Where(l => l.StartsWith("-A ", StringComparison.Ordinal)).Distinct().ToList();
        lines.Count.ShouldBeGreaterThan(45);

        var mutants = Faults.OfType<RuleFault>().Select(f => f.Change(rules)).ToList();
        var mutantsOfIPv6 = All.Where(m => m.Id.EndsWith(Families.IPv6.Suffix(), StringComparison.Ordinal))
            .Select(m => m.Fault).OfType<RuleFault>().Select(f => f.Change(rules)).ToList();

        foreach (var line in lines)
        {
            mutants.ShouldContain(m => !m.Contains($"{line}\n", StringComparison.Ordinal), line);
            if (isIPv6)
                mutantsOfIPv6.ShouldContain(m => !m.Contains($"{line}\n", StringComparison.Ordinal), line);
        }
    }

    [TestCase("rules", "{ id: a, in: nat INPUT, rule: x, on: y }", "mutants.yaml:2: the row has 'on', and may have id, in, rule,")]
    [TestCase("rules", "{ id: a, in: nat, rule: x }", "mutants.yaml:2: the row is in 'nat', which is no table and chain.")]
    [TestCase("rules", "{ id: a, in: nat INPUT, rule: 'KUBE-[' }", "mutants.yaml:2: the row has 'rule: KUBE-[', which is no regular")]
    [TestCase("rules", "{ id: a, in: nat INPUT }", "mutants.yaml:2: the row lacks 'rule'.")]
    [TestCase("roles", "{ id: a }", "mutants.yaml:2: the row is in the section 'roles', which there is not.")]
    [TestCase("sysctls", "{ id: a, what: b, sysctl: c }\n  - { id: a, what: b, sysctl: d }", "mutants.yaml: two mutants have the id a.")]
    public void A_row_that_is_none_is_refused_with_its_line(string section, string row, string message) =>
        Should.Throw<SyntaxException>(() => Mutant.Read($"{section}:\n  - {row}\n")).Message.ShouldStartWith(message);

    [Test]
    public void Each_rule_mutant_changes_something()
    {
        var rules = new RuleSet(DesiredState(), s_node, ipv6: true).ToDocument(withJumps: true);

        foreach (var mutant in All.Where(m => m.Fault is RuleFault))
            ((RuleFault)mutant.Fault).Change(rules).ShouldNotBe(rules, mutant.Id);
    }

    [Test]
    public void Each_set_can_be_empty_kept_and_asked_wrongly()
    {
        foreach (var set in Sets.Of(s_options))
        {
            var id = $"set-{set.Name["KUBE-".Length..].ToLowerInvariant()}";
            foreach (var kind in new[] { "missing", "missing-ipv6", "kept", "dimension" })
                All.ShouldContain(m => m.Id == $"{id}-{kind}");
        }
    }

    [Test]
    public void Each_sysctl_can_be_unset()
    {
        var set = All.Select(m => m.Fault).OfType<SysctlFault>().Select(f => f.Name).ToHashSet(StringComparer.Ordinal);

        Sysctls.Of(s_options, servesIPv6: true).Select(s => s.Name).Except(set, StringComparer.Ordinal).ShouldBeEmpty();
    }

    [Test]
    public void Equivalent_mutants_are_few_and_have_an_argument()
    {
        var equivalent = All.Where(m => m.Equivalent is not null).ToList();

        equivalent.ShouldAllBe(m => m.Equivalent!.Length > 40 && m.Equivalent.EndsWith('.'));
        (All.Count - equivalent.Count).ShouldBeGreaterThan(200);
    }

    [Test]
    public void Claims_are_remembered_of_mutants_that_they_can_see()
    {
        var ids = All.Where(m => m.Equivalent is null).Select(m => m.Id).ToHashSet(StringComparer.Ordinal);

        Launcher.Mutation.MutantList.Killers().Keys.Except(ids, StringComparer.Ordinal).ShouldBeEmpty();
    }

    /// <summary>Services of every kind, in both families, with and without an endpoint here: every rule is there.</summary>
    private static DesiredState DesiredState()
    {
        var cluster = new Cluster();
        foreach (var (pod, policy) in from p in new[] { "10.244.0.12", "10.244.1.12" } from l in new[] { false, true } select (p, l))
        {
            var number = (byte)(cluster.Services.Count + 1);
            var service = new Service
            {
                Name = new ObjectName("default", $"s{number}"),
                ClusterIPs = Addresses($"10.96.0.{number}", $"fd00:10:96::{number}"),
                ExternalIPs = Addresses($"203.0.113.{number}", $"2001:db8:7::{number}"),
                LoadBalancerIPs = Addresses($"198.51.100.{number}", $"2001:db8:8::{number}"),
                LoadBalancerSourceRanges = [IPNetwork.Parse("198.18.0.0/15"), IPNetwork.Parse("2001:db8:ffff::/64"),
                    IPNetwork.Parse("192.168.113.0/24"), IPNetwork.Parse("fd00:113::/64")],
                IsLoadBalancer = true,
                AcceptsExternalTraffic = true,
                ExternalPolicyIsLocal = policy,
                Ports = [new ServicePort("tcp", TransportProtocol.Tcp, 80, (ushort)(30000 + number))],
            };
            cluster.Put(service);
            var closed = service with
            {
                Name = new ObjectName("default", $"c{number}"),
                ClusterIPs = Addresses($"10.96.1.{number}", $"fd00:10:96:1::{number}"),
                LoadBalancerIPs = Addresses($"198.51.101.{number}", $"2001:db8:9::{number}"),
                LoadBalancerSourceRanges = service.LoadBalancerSourceRanges.Take(2).ToList(),
            };
            cluster.Put(closed);
            foreach (var name in new[] { service.Name, closed.Name })
                Put(cluster, name, pod);
        }
        return new World(s_options, s_node, cluster).Desired;
    }

    private static void Put(Cluster cluster, ObjectName service, string pod)
    {
        foreach (var (address, isIPv6) in new[] { (pod, false), ($"fd00:10:244::{pod.Split('.')[2]}", true) })
        {
            cluster.Put(new EndpointSlice(service with { Name = $"{service.Name}-{isIPv6}" }, service, isIPv6,
                [new SlicePort("tcp", TransportProtocol.Tcp, 8080)],
                [new Endpoint(IPAddress.Parse(address), IsReady: true, IsServing: true, IsTerminating: false,
                    pod.StartsWith("10.244.0", StringComparison.Ordinal) ? "node1" : "node2", null)]));
        }
    }

    private static List<IPAddress> Addresses(params string[] texts) => [.. texts.Select(IPAddress.Parse)];
}
