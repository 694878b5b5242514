using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Ipset;
using Conformance.Linux.Ipvs;

namespace Conformance.Generator.Decisions;

/// <summary>Decides what one Service asks of the kernel, from its object and its slices alone.</summary>
public sealed class Decider(GeneratorOptions options, NodeState node)
{
    private readonly AddressFamily[] _families = node.ServesIPv6 ? [AddressFamily.InterNetwork, AddressFamily.InterNetworkV6]
        : [AddressFamily.InterNetwork];
    private readonly HashSet<IPAddress> _nodeAddresses = [.. node.Addresses];

    /// <summary>The decision on one Service.</summary>
    /// <param name="slices">Its EndpointSlices, in any order.</param>
    public ServiceDecision Decide(Service service, IEnumerable<EndpointSlice> slices)
    {
        if (!service.IsProxied)
            return ServiceDecision.Nothing(service.Name);
        var claims = new List<PortClaim>();
        var members = new List<SetMember>();
        var readyHere = 0;
        var families = Array.FindAll(_families, f => service.ClusterIPs.Any(a => a.AddressFamily == f));
        foreach (var family in families)
        {
            var ready = service.HealthCheckNodePort == 0 ? null : new HashSet<IPAddress>();
            foreach (var port in service.Ports)
            {
                var choice = EndpointChoice.Of(service, port, family == AddressFamily.InterNetworkV6, slices, node,
                    options.CompatKubeProxy);
                new PortDecision(this, service, port, family, choice).Decide(claims, members);
                ready?.UnionWith(choice.All.Where(e => e.IsLocal && e.Endpoint.IsReady).Select(e => e.Server.Address));
            }
            readyHere = Math.Max(readyHere, ready?.Count ?? 0); // a pod of both families is one pod
        }
        claims = Merge(claims);
        var healthCheck = service.HealthCheckNodePort == 0 ? null : new HealthCheck(service.HealthCheckNodePort, service.Name, readyHere);
        if (healthCheck is not null)
        {
            foreach (var family in families)
                members.Add(new SetMember(new SetKey(Sets.HealthCheckNodePort, family == AddressFamily.InterNetworkV6),
                    IpsetEntry.OfPort(healthCheck.Port)));
        }
        return new ServiceDecision(service.Name, service.CreatedAt, claims, members, healthCheck);
    }

    /// <summary>An address that is, say, external and a load balancer's at once is claimed once, with all that belongs to either.</summary>
    private static List<PortClaim> Merge(List<PortClaim> claims)
    {
        if (claims.Count < 2 || claims.Select(c => c.Key).Distinct().Count() == claims.Count)
            return claims;
        return [.. claims.GroupBy(c => c.Key).Select(g => g.Aggregate((a, b) => new PortClaim(
            b.Server, [.. a.Members.Union(b.Members)], a.Binds || b.Binds, a.IsClosedToNode || b.IsClosedToNode)))];
    }

    /// <summary>One port of a Service in one family.</summary>
    private sealed class PortDecision(Decider decider, Service service, ServicePort port, AddressFamily family, EndpointChoice choice)
    {
        private readonly GeneratorOptions _options = decider.Options;
        private readonly bool _ipv6 = family == AddressFamily.InterNetworkV6;

        /// <summary>A node port or an address that the outside can reach, in this family.</summary>
        private bool IsExternallyAccessible =>
            port.NodePort != 0 || service.LoadBalancerIPs.Any(IsOurs) || service.ExternalIPs.Any(IsOurs);

        internal void Decide(List<PortClaim> claims, List<SetMember> members)
        {
            foreach (var endpoint in choice.All.Where(e => e.IsLocal))
                members.Add(Member(Sets.LoopBack, new IpsetEntry(endpoint.Server.Address, port.Protocol, endpoint.Server.Port,
                    endpoint.Server.Address)));

            var cluster = ClusterServers();
            foreach (var address in service.ClusterIPs.Where(a => a.AddressFamily == family))
                claims.Add(Claim(address, port.Port, cluster, binds: true, [Member(Sets.ClusterIp, Triple(address))]));

            var (external, isClosedOutside) = ExternalServers();
            foreach (var address in service.ExternalIPs.Where(IsOurs).Distinct())
                claims.Add(Claim(address, port.Port, external, binds: true,
                    Closed(isClosedOutside, address,
                        [Member(service.ExternalPolicyIsLocal ? Sets.ExternalIpLocal : Sets.ExternalIp, Triple(address))])));
            foreach (var address in service.LoadBalancerIPs.Where(IsOurs).Distinct())
                claims.Add(LoadBalancer(address, external, isClosedOutside));
            if (port.NodePort != 0)
            {
                foreach (var address in decider.Node.NodePortAddresses(_options, family))
                    claims.Add(Claim(address, port.NodePort, external, binds: false,
                        Closed(isClosedOutside, address, NodePortMembers(address), port.NodePort)));
            }
        }

        /// <summary>
        /// Where traffic to the ClusterIP goes. With internalTrafficPolicy Local and nobody here, nowhere: it is refused.
        /// </summary>
        private IReadOnlyList<RealServerKey> ClusterServers()
        {
            if (!service.InternalPolicyIsLocal)
                return choice.Cluster;
            // kube-proxy lets a Service that outsiders can reach fall back to everybody's endpoints.
            return choice.Local.Count == 0 && _options.CompatKubeProxy && IsExternallyAccessible ? choice.Cluster : choice.Local;
        }

        /// <summary>
        /// Where traffic to addresses for the outside goes. With externalTrafficPolicy Local and nobody here, the node's
        /// own traffic and its pods' still reach everybody's endpoints, and the outside is to be dropped.
        /// </summary>
        private (IReadOnlyList<RealServerKey> Servers, bool IsClosedOutside) ExternalServers()
        {
            if (!service.ExternalPolicyIsLocal)
                return (choice.Cluster, false);
            return choice.Local.Count > 0 ? (choice.Local, false) : (choice.Cluster, !_options.CompatKubeProxy);
        }

        private PortClaim LoadBalancer(IPAddress address, IReadOnlyList<RealServerKey> servers, bool isClosedOutside)
        {
            var members = new List<SetMember> { Member(Sets.LoadBalancer, Triple(address)) };
            if (service.ExternalPolicyIsLocal)
                members.Add(Member(Sets.LoadBalancerLocal, Triple(address)));
            var ranges = service.LoadBalancerSourceRanges.Where(r => r.BaseAddress.AddressFamily == family).ToList();
            var isClosedToNode = false;
            if (ranges.Count > 0)
            {
                members.Add(Member(Sets.LoadBalancerFirewall, Triple(address)));
                foreach (var (network, length) in ranges.SelectMany(Storable))
                    members.Add(Member(Sets.LoadBalancerSourceCidr, Triple(address) with { Second = network, SecondPrefix = length }));
                isClosedToNode = decider.Node.PrimaryAddress(family) is not { } own || !ranges.Exists(r => r.Contains(own));
                if (!isClosedToNode)
                    members.Add(Member(Sets.LoadBalancerSourceIp, Triple(address) with { Second = address }));
            }
            return Claim(address, port.Port, servers, binds: true,
                Closed(isClosedOutside, address, members)) with
            { IsClosedToNode = isClosedToNode };
        }

        /// <summary>
        /// A set of networks cannot hold the network of length 0 (ipset(8), hash:net): two halves can. kube-proxy leaves it out.
        /// </summary>
        private IEnumerable<(IPAddress Network, byte Length)> Storable(IPNetwork range)
        {
            if (range.PrefixLength > 0)
                return [(range.BaseAddress, (byte)range.PrefixLength)];
            if (_options.CompatKubeProxy)
                return [];
            var upper = new byte[_ipv6 ? 16 : 4];
            upper[0] = 0x80;
            return [(range.BaseAddress, 1), (new IPAddress(upper), 1)];
        }

        private List<SetMember> NodePortMembers(IPAddress address)
        {
            var triple = new IpsetEntry(address, port.Protocol, port.NodePort);
            var (all, local) = (_options.CompatKubeProxy, port.Protocol) switch
            {
                (false, _) => (Sets.NodePort, Sets.NodePortLocal),
                (_, TransportProtocol.Tcp) => (Sets.NodePortTcp, Sets.NodePortLocalTcp),
                (_, TransportProtocol.Udp) => (Sets.NodePortUdp, Sets.NodePortLocalUdp),
                _ => (Sets.NodePortSctp, Sets.NodePortLocalSctp),
            };
            var entry = all.Type == IpsetType.BitmapPort ? IpsetEntry.OfPort(port.NodePort) : triple;
            return service.ExternalPolicyIsLocal ? [Member(all, entry), Member(local, entry)] : [Member(all, entry)];
        }

        private List<SetMember> Closed(bool isClosedOutside, IPAddress address, List<SetMember> members, ushort? atPort = null)
        {
            if (isClosedOutside)
                members.Add(Member(Sets.NoLocalEndpoint, new IpsetEntry(address, port.Protocol, atPort ?? port.Port)));
            return members;
        }

        private PortClaim Claim(IPAddress address, ushort atPort, IReadOnlyList<RealServerKey> servers, bool binds, List<SetMember> members)
        {
            var bound = binds && !decider._nodeAddresses.Contains(address);
            if (bound)
                members.Add(Member(Sets.IpvsIps, IpsetEntry.OfAddress(address)));
            var server = new DesiredServer(new VirtualServerKey(port.Protocol, address, atPort),
                (_options.CompatKubeProxy ? null : service.Scheduler) ?? _options.IpvsScheduler, service.AffinitySeconds, servers);
            return new PortClaim(server, members, bound, IsClosedToNode: false);
        }

        private IpsetEntry Triple(IPAddress address) => new(address, port.Protocol, port.Port);

        private SetMember Member(SetDefinition set, IpsetEntry entry) => new(new SetKey(set, _ipv6), entry);

        /// <summary>Of addresses for the outside: those of this family, but for what is another Node's where that is refused.</summary>
        private bool IsOurs(IPAddress address) => address.AddressFamily == family
            && !(_options.RefuseNodeAddresses && decider.Node.OtherNodes.ContainsKey(address));
    }

    private GeneratorOptions Options => options;

    private NodeState Node => node;
}
