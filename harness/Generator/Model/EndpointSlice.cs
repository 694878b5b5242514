using System.Net;
using Conformance.Linux;

namespace Conformance.Generator.Model;

/// <summary>
/// A port of an EndpointSlice, found by the name of the Service's port. No number means all ports, which a proxy cannot serve.
/// </summary>
public sealed record SlicePort(string Name, TransportProtocol Protocol, ushort Port);

/// <summary>One endpoint; conditions that the object leaves out have the API's defaults.</summary>
/// <param name="HintedZones">The zones of hints.forZones; null where there are no hints.</param>
public sealed record Endpoint(IPAddress Address, bool IsReady, bool IsServing, bool IsTerminating, string? NodeName,
    IReadOnlyList<string>? HintedZones)
{
    /// <summary>The nodes of hints.forNodes; null where there are none.</summary>
    public IReadOnlyList<string>? HintedNodes { get; init; }
}

/// <summary>A discovery.k8s.io/v1 EndpointSlice of addresses (a proxy ignores FQDN slices).</summary>
public sealed record EndpointSlice(ObjectName Name, ObjectName Service, bool IsIPv6, IReadOnlyList<SlicePort> Ports,
    IReadOnlyList<Endpoint> Endpoints);
