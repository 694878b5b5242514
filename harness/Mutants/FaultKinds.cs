using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Model;
using Conformance.Generator.Serving;
using Conformance.Generator.Sync;
using Conformance.Linux;
using Conformance.Linux.Ipvs;
using Conformance.Mutants.Faults;

namespace Conformance.Mutants;

/// <summary>The kinds of rows in mutants.yaml: for each section what its rows have, and the mutants that follow.</summary>
internal static class FaultKinds
{
    private static readonly string[] s_steps = [nameof(RestoreRules), nameof(AddEntries), nameof(DeleteEntries), nameof(AddServers),
        nameof(DeleteServers), nameof(AddReals), nameof(RemoveReals), nameof(EditReals), nameof(Bind), nameof(Unbind)];

    private static readonly Families[] s_families = [Families.Both, Families.IPv6];

    internal static IEnumerable<Mutant> Of(string section, Row row) => section switch
    {
        "rules" => Rules(row),
        "sets" => SetMutants(row),
        "entries" => [Simple(row, new ChangedEntries(row["set"], EntryChange(row)), "set")],
        "sysctls" => [Simple(row, new SysctlFault(row["sysctl"], row.Optional("value")), "sysctl", "value")],
        "virtual servers" => [Simple(row, ServerFault(row["fault"], row))],
        "real servers" => RealServers(row),
        "device" => Device(row),
        "Services" => [Simple(row, new ObjectFault { OfService = ServiceChange(row["fault"], row) })],
        "endpoints" => [Simple(row, new ObjectFault { OfSlice = SliceChange(row["fault"], row) })],
        "nodes" => [Simple(row, new ObjectFault { OfNode = NodeChange(row["fault"], row) })],
        "flags" => [Simple(row, new ArgumentFault(row["flag"], row.Optional("value")), "flag", "value")],
        "order" => [Simple(row, new OrderFault(StepsOf(row), first: row.OneOf("moved", "first", "last") == "first"), "steps", "moved")],
        "life" => [Simple(row, LifeFault(row["fault"], row), "steps")],
        "answers" => [Simple(row, AnswerFault(row["fault"], row))],
        "cleanup" => [Simple(row, new CleanupFault(row.OneOf("left", "device", "set", "set-ipv6", "virtual-server", "chain-nat",
            "chain-ipv6", "chain-filter", "jump")), "left")],
        _ => throw row.Invalid($"is in the section '{section}', which there is not"),
    };

    private static IReadOnlyList<string> StepsOf(Row row) => row.List("steps") is { Count: > 0 } steps
        && steps.All(s => s_steps.Contains(s, StringComparer.Ordinal)) ? steps
        : throw row.Invalid($"must have 'steps' out of {string.Join(", ", s_steps)}");

    private static Mutant Simple(Row row, Fault fault, params string[] keys)
    {
        row.Allow(["id", "what", "equivalent", "fault", .. keys]);
        return new Mutant(row["id"], row["what"], row.Optional("equivalent"), fault);
    }

    /// <summary>A row of a fault that can be in both families or in IPv6 alone, and of which each may be equivalent.</summary>
    private static IEnumerable<Mutant> Each(Row row, string what, Func<Families, Fault> fault) => s_families.Select(f =>
        new Mutant($"{row["id"]}{f.Suffix()}", $"{what}{f.Words()}.", row.Optional($"equivalent{f.Suffix()}"), fault(f)));

    private static IEnumerable<Mutant> Rules(Row row)
    {
        row.Allow("id", "in", "rule", "becomes", "equivalent", "equivalent-ipv6");
        if (row["in"].Split(' ') is not [var table, var chain])
            throw row.Invalid($"is in '{row["in"]}', which is no table and chain");
        var becomes = row.Optional("becomes");
        return Each(row, becomes switch
        {
            null => $"{row["in"]} lacks the rule with {row["rule"]}",
            "" => $"A rule of {row["in"]} lacks {row["rule"]}",
            _ => $"{row["in"]} has {becomes} for {row["rule"]}",
        }, f => new RuleFault(table, chain, row.Pattern("rule"), becomes, f));
    }

    private static IEnumerable<Mutant> SetMutants(Row row)
    {
        row.Allow("set", "equivalent-missing", "equivalent-missing-ipv6", "equivalent-kept", "equivalent-dimension");
        var set = row["set"];
        var id = set.Replace("KUBE-", "", StringComparison.Ordinal).ToLowerInvariant();
        foreach (var families in s_families)
            yield return new Mutant($"set-{id}-missing{families.Suffix()}", $"The set {set} stays empty{families.Words()}.",
                row.Optional($"equivalent-missing{families.Suffix()}"), new MissingEntries(set, families));
        yield return new Mutant($"set-{id}-kept", $"Entries of the set {set} are never deleted.", row.Optional("equivalent-kept"),
            new KeptEntries(set));
        yield return new Mutant($"set-{id}-dimension", $"Rules ask the set {set} with the other side of the packet in its first dimension.",
            row.Optional("equivalent-dimension"), new DimensionFault(set));
    }

    private static Func<Linux.Ipset.IpsetEntry, Linux.Ipset.IpsetEntry> EntryChange(Row row) => row["fault"] switch
    {
        "port" => e => e with { Port = (ushort)(e.Port + 1) },
        "protocol" => e => e with { Protocol = e.Protocol == TransportProtocol.Tcp ? TransportProtocol.Udp : TransportProtocol.Tcp },
        "second" => e => e with { Second = e.Second is null ? null : Other(e.Second) },
        "host" => e => e.Second is null ? e : e with { SecondPrefix = (byte)(e.Second.GetAddressBytes().Length * 8) },
        "wide" => e => e.Second is null ? e : e with { SecondPrefix = 1 },
        _ => throw Unknown(row),
    };

    private static IPAddress Other(IPAddress address)
    {
        var bytes = address.GetAddressBytes();
        bytes[^1] ^= 1;
        return new IPAddress(bytes);
    }

    private static Fault ServerFault(string fault, Row row) => fault switch
    {
        "missing" => new MissingServers(_ => true),
        "missing-ipv6" => new MissingServers(k => k.IsIPv6),
        "missing-udp" => new MissingServers(k => k.Protocol == TransportProtocol.Udp),
        "missing-sctp" => new MissingServers(k => k.Protocol == TransportProtocol.Sctp),
        "kept" => new MissingStep(nameof(DeleteServers)),
        "unedited" => new MissingStep(nameof(EditServers)),
        "source-hashing" => new ChangedServers(s => s with { Scheduler = "sh" }),
        "least-connection" => new ChangedServers(s => s with { Scheduler = "lc" }),
        "round-robin" => new ChangedServers(s => s with { Scheduler = Scheduler.RoundRobin, Flags = VirtualServerFlags.None }),
        "one-packet" => new ChangedServers(s => s.Key!.Value.Protocol == TransportProtocol.Udp
            ? s with { Flags = s.Flags | VirtualServerFlags.OnePacket } : s),
        "no-flags" => new ChangedServers(s => s with { Flags = VirtualServerFlags.None }),
        "not-persistent" => new ChangedServers(s => s with { PersistenceSeconds = 0 }),
        "not-persistent-ipv6" => new ChangedServers(s => s.Key!.Value.IsIPv6 ? s with { PersistenceSeconds = 0 } : s),
        "not-persistent-node-ports" => new ChangedServers(s => s.Key!.Value.Port >= 30000 ? s with { PersistenceSeconds = 0 } : s),
        "always-persistent" => new ChangedServers(s => s with
        {
            PersistenceSeconds = s.PersistenceSeconds > 0 ? s.PersistenceSeconds
            : 180
        }),
        "persistent-for-long" => new ChangedServers(s => s with { PersistenceSeconds = s.PersistenceSeconds * 4 }),
        "persistent-for-short" => new ChangedServers(s => s with { PersistenceSeconds = s.PersistenceSeconds > 0 ? 1 : 0 }),
        "persistence-network" => new IpvsadmFault("-E {server} -s {scheduler} -p {persistence} -M {mask}", isPersistent: true),
        _ => throw Unknown(row),
    };

    private static IEnumerable<Mutant> RealServers(Row row)
    {
        row.Allow("id", "what", "equivalent", "equivalent-ipv6", "fault");
        return row["fault"] switch
        {
            "route" => Each(row, row["what"], f => new ChangedReals(f, r => r with { Method = ForwardingMethod.Route })),
            "tunnel" => Each(row, row["what"], f => new ChangedReals(f, r => r with { Method = ForwardingMethod.Tunnel })),
            "weight-0" => Each(row, row["what"], f => new ChangedReals(f, r => r with { Weight = 0 })),
            "port" => Each(row, row["what"], f => new ChangedReals(f, r => r with { Port = (ushort)(r.Port + 1) })),
            var fault => [Simple(row, fault switch
            {
                "unequal" => new UnequalReals(),
                "first-alone" => new MissingReals((_, i) => i > 0),
                "not-first" => new MissingReals((_, i) => i == 0),
                "missing-udp" => new MissingReals((r, _) => r.Key.Protocol == TransportProtocol.Udp),
                "kept" => new MissingStep(nameof(RemoveReals)),
                "last-kept" => new KeptLastReal(),
                "unedited" => new MissingStep(nameof(EditReals)),
                "threshold" => new IpvsadmFault("-e {server} -r {real} -m -w 1 -x 1", isPersistent: false),
                _ => throw Unknown(row),
            }, "equivalent-ipv6")],
        };
    }

    private static IEnumerable<Mutant> Device(Row row)
    {
        row.Allow("id", "what", "equivalent", "equivalent-ipv6", "fault");
        return row["fault"] switch
        {
            "missing" => Each(row, row["what"], f => new MissingAddresses(f)),
            "network" => Each(row, row["what"], f => new ChangedAddresses(f, ChangedAddresses.AsNetwork)),
            "source" => Each(row, row["what"], f => new ChangedAddresses(f, ChangedAddresses.AsSource)),
            var fault => [Simple(row, fault switch
            {
                "kept" => new MissingStep(nameof(Unbind)),
                "up" => new ChangedDevice(isUp: true),
                _ => throw Unknown(row),
            }, "equivalent-ipv6")],
        };
    }

    private static Func<Service, Service> ServiceChange(string fault, Row row) => fault switch
    {
        "external-policy" => s => s with { ExternalPolicyIsLocal = false },
        "external-policy-local" => s => s with { ExternalPolicyIsLocal = true },
        "internal-policy" => s => s with { InternalPolicyIsLocal = false },
        "internal-policy-local" => s => s with { InternalPolicyIsLocal = true },
        "external-as-internal" => s => s with { InternalPolicyIsLocal = s.ExternalPolicyIsLocal },
        "internal-as-external" => s => s with { ExternalPolicyIsLocal = s.InternalPolicyIsLocal },
        "affinity" => s => s with { AffinitySeconds = 0 },
        "affinity-time" => s => s with { AffinitySeconds = s.AffinitySeconds > 0 ? Service.DefaultAffinitySeconds : 0 },
        "external-ips" => s => s with { ExternalIPs = [] },
        "load-balancer-ips" => s => s with { LoadBalancerIPs = [] },
        "one-load-balancer-ip" => s => s with { LoadBalancerIPs = [.. s.LoadBalancerIPs.Take(1)] },
        "ranges" => s => s with { LoadBalancerSourceRanges = [] },
        "first-range" => s => s with { LoadBalancerSourceRanges = [.. s.LoadBalancerSourceRanges.Take(1)] },
        "ranges-ipv6" => s => s with
        {
            LoadBalancerSourceRanges = [.. s.LoadBalancerSourceRanges
            .Where(r => r.BaseAddress.AddressFamily == AddressFamily.InterNetwork)]
        },
        "node-ports" => s => s with { Ports = [.. s.Ports.Select(p => p with { NodePort = 0 })] },
        "node-ports-udp" => s => s with
        {
            Ports = [.. s.Ports.Select(p => p.Protocol == TransportProtocol.Udp ? p with { NodePort = 0 }
            : p)]
        },
        "first-port" => s => s with { Ports = [.. s.Ports.Take(1)] },
        "last-port" => s => s with { Ports = [.. s.Ports.TakeLast(1)] },
        "first-family" => s => s with { ClusterIPs = [.. s.ClusterIPs.Take(1)] },
        "health-check" => s => s with { HealthCheckNodePort = 0 },
        "scheduler" => s => s with { Scheduler = null },
        "another-proxy" => s => s with { IsProxied = true },
        "age" => s => s with { CreatedAt = DateTimeOffset.UnixEpoch.AddSeconds(int.MaxValue) - (s.CreatedAt - DateTimeOffset.UnixEpoch) },
        "hints-always" => s => s with { UsesTopologyHints = true },
        "hints-never" => s => s with { UsesTopologyHints = false },
        "distribution" => s => s with { PrefersCloseEndpoints = false },
        _ => throw Unknown(row),
    };

    private static Func<EndpointSlice, Cluster, string, EndpointSlice> SliceChange(string fault, Row row) => fault switch
    {
        "ready" => Endpoints(e => e with { IsReady = true }),
        "ready-as-serving" => Endpoints(e => e with { IsReady = e.IsServing }),
        "never-serving" => Endpoints(e => e with { IsServing = false }),
        "always-serving" => Endpoints(e => e with { IsServing = true }),
        "not-terminating" => Endpoints(e => e with { IsTerminating = false }),
        "always-terminating" => Endpoints(e => e with { IsTerminating = true }),
        "terminating-ready" => Endpoints(e => e with { IsReady = e.IsReady || (e.IsTerminating && e.IsServing) }),
        "no-node" => Endpoints(e => e with { NodeName = null }),
        "own-node" => (s, _, node) => s with { Endpoints = [.. s.Endpoints.Select(e => e with { NodeName = node })] },
        "no-zone-hints" => Endpoints(e => e with { HintedZones = null }),
        "some-zone-hints" => Endpoints(e => e with { HintedZones = e.HintedZones ?? ["nowhere"] }),
        "no-node-hints" => Endpoints(e => e with { HintedNodes = null }),
        "some-node-hints" => Endpoints(e => e with { HintedNodes = e.HintedNodes ?? ["nowhere"] }),
        "first-of-address" => (s, _, _) => s with { Endpoints = [.. s.Endpoints.DistinctBy(e => e.Address)] },
        "last-of-address" => (s, _, _) => s with { Endpoints = [.. s.Endpoints.Reverse().DistinctBy(e => e.Address).Reverse()] },
        "first-endpoint" => (s, _, _) => s with { Endpoints = [.. s.Endpoints.Take(1)] },
        "target-port" => (s, cluster, _) => s with
        {
            Ports = [.. s.Ports.Select(p => p with
            { Port = PortsOf(s, cluster).FirstOrDefault(o => o.Name == p.Name && o.Protocol == p.Protocol)?.Port ?? p.Port })]
        },
        "first-port" => (s, _, _) => s with { Ports = [.. s.Ports.Select(p => p with { Port = s.Ports[0].Port })] },
        "exchanged-ports" => (s, _, _) => s with { Ports = [.. s.Ports.Select((p, i) => p with { Port = s.Ports[^(i + 1)].Port })] },
        "protocol" => (s, _, _) => s with { Ports = [.. s.Ports.Select(p => p with { Protocol = TransportProtocol.Tcp })] },
        "ipv6" => (s, _, _) => s.IsIPv6 ? s with { Endpoints = [] } : s,
        "second-slice" => (s, cluster, _) => cluster.SlicesOf(s.Service).First(o => o.IsIPv6 == s.IsIPv6).Name == s.Name ? s
            : s with { Endpoints = [] },
        _ => throw Unknown(row),
    };

    private static Func<EndpointSlice, Cluster, string, EndpointSlice> Endpoints(Func<Endpoint, Endpoint> change) =>
        (s, _, _) => s with { Endpoints = [.. s.Endpoints.Select(change)] };

    private static IReadOnlyList<ServicePort> PortsOf(EndpointSlice slice, Cluster cluster) =>
        cluster.Services.TryGetValue(slice.Service, out var service) ? service.Ports : [];

    private static Func<NodeObject, NodeObject> NodeChange(string fault, Row row) => fault switch
    {
        "zone" => n => n with { Zone = null },
        "leaving" => n => n with { IsLeaving = false },
        "always-leaving" => n => n with { IsLeaving = true },
        _ => throw Unknown(row),
    };

    private static Fault LifeFault(string fault, Row row) => fault switch
    {
        "no-drain" => new NoDrain(),
        "endless-drain" => new EndlessDrain(),
        "stale-udp" => new MissingStep(nameof(ForgetStaleUdp)),
        "clean-start" => new CleanStart(),
        "lazy-start" => new LazyStart(StepsOf(row)),
        "deleted-objects" => new ObjectFault { Keeps = true },
        _ => throw Unknown(row),
    };

    private static Fault AnswerFault(string fault, Row row) => fault switch
    {
        "always-200" => new AnswerFault(AnswerKind.HealthCheck, a => a with { Status = 200 }),
        "always-503" => new AnswerFault(AnswerKind.HealthCheck, a => a with { Status = 503 }),
        "no-weight" => new AnswerFault(AnswerKind.HealthCheck, a => a with { Headers = [] }),
        "weight-1" => new AnswerFault(AnswerKind.HealthCheck, a => a with { Headers = [.. a.Headers.Select(h => (h.Name, "1"))] }),
        "count-0" => new AnswerFault(AnswerKind.HealthCheck, a => a with { Body = NumberAfter(a.Body, "\"localEndpoints\": ", "0") }),
        "probe-200" => new AnswerFault(AnswerKind.Probe, a => a with { Status = 200 }),
        "probe-503" => new AnswerFault(AnswerKind.Probe, a => a with { Status = 503 }),
        "no-changes" => new AnswerFault(AnswerKind.Metrics, a => Faults.AnswerFault.WithoutLines(a, "_changes_total")),
        "no-syncs" => new AnswerFault(AnswerKind.Metrics, a => Faults.AnswerFault.WithoutLines(a, "kubeproxy_sync_proxy_rules_duration")),
        _ => throw Unknown(row),
    };

    private static string NumberAfter(string text, string before, string number)
    {
        var at = text.IndexOf(before, StringComparison.Ordinal) + before.Length;
        var end = at;
        while (end < text.Length && char.IsAsciiDigit(text[end]))
            end++;
        return string.Create(CultureInfo.InvariantCulture, $"{text[..at]}{number}{text[end..]}");
    }

    private static FormatException Unknown(Row row) => row.Invalid($"has the fault '{row["fault"]}', which its section does not know");
}
