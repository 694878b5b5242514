using Conformance.Linux;

namespace Conformance.Generator.Model;

/// <summary>The objects of a cluster as they are now. A change to one tells which Services it concerns.</summary>
public sealed class Cluster
{
    private readonly Dictionary<ObjectName, Service> _services = [];
    private readonly Dictionary<ObjectName, EndpointSlice> _slices = [];

    /// <summary>The slices of each Service, by name. Nearly every one has one or two.</summary>
    private readonly Dictionary<ObjectName, List<EndpointSlice>> _slicesOfService = [];
    private readonly Dictionary<string, NodeObject> _nodes = new(StringComparer.Ordinal);

    /// <summary>The Services by name.</summary>
    public IReadOnlyDictionary<ObjectName, Service> Services => _services;

    /// <summary>The EndpointSlices by name.</summary>
    public IReadOnlyDictionary<ObjectName, EndpointSlice> Slices => _slices;

    /// <summary>The Nodes by name.</summary>
    public IReadOnlyDictionary<string, NodeObject> Nodes => _nodes;

    /// <summary>Puts an object in the place of what has its key, or removes that.</summary>
    /// <param name="item">Null when there is no such object any more.</param>
    /// <returns>The Services concerned. A Node concerns all of them, and none is named.</returns>
    public IReadOnlyList<ObjectName> Replace(ObjectKey key, object? item)
    {
        switch (item)
        {
            case Service service:
                Put(service);
                return [key.Name];
            case EndpointSlice slice:
                return Put(slice);
            case NodeObject node:
                Put(node);
                return [];
        }
        switch (key.Kind)
        {
            case ObjectKind.Service:
                RemoveService(key.Name);
                return [key.Name];
            case ObjectKind.EndpointSlice:
                return RemoveSlice(key.Name) is { } owner ? [owner] : [];
            default:
                _nodes.Remove(key.Name.Name);
                return [];
        }
    }

    /// <summary>Adds or replaces a Service.</summary>
    public void Put(Service service) => _services[service.Name] = service;

    /// <summary>Removes a Service.</summary>
    public void RemoveService(ObjectName name) => _services.Remove(name);

    /// <returns>The Services whose endpoints may have changed: the slice's, and the one it belonged to before.</returns>
    public IReadOnlyList<ObjectName> Put(EndpointSlice slice)
    {
        var before = RemoveSlice(slice.Name);
        _slices[slice.Name] = slice;
        if (!_slicesOfService.TryGetValue(slice.Service, out var slices))
            _slicesOfService[slice.Service] = slices = new(1);
        var place = slices.FindIndex(s => ObjectName.Order.Compare(s.Name, slice.Name) > 0);
        slices.Insert(place < 0 ? slices.Count : place, slice);
        return before is { } old && old != slice.Service ? [old, slice.Service] : [slice.Service];
    }

    /// <returns>The Service that the slice belonged to.</returns>
    public ObjectName? RemoveSlice(ObjectName name)
    {
        if (!_slices.Remove(name, out var slice))
            return null;
        var slices = _slicesOfService[slice.Service];
        slices.Remove(slice);
        if (slices.Count == 0)
            _slicesOfService.Remove(slice.Service);
        return slice.Service;
    }

    /// <summary>Adds or replaces a Node.</summary>
    public void Put(NodeObject node) => _nodes[node.Name] = node;

    /// <summary>The slices of a Service, by name.</summary>
    public IEnumerable<EndpointSlice> SlicesOf(ObjectName service) => _slicesOfService.TryGetValue(service, out var slices)
        ? slices : [];
}
