using System.Runtime.CompilerServices;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;

namespace Conformance.Mutants.Faults;

/// <summary>The generator decides as if the objects were others.</summary>
internal sealed class ObjectFault : Fault
{
    /// <summary>Another Service; it gets the one that was read, and the objects of the cluster.</summary>
    internal Func<Service, Service>? OfService { get; init; }

    /// <summary>Other endpoints of a Service.</summary>
    internal Func<EndpointSlice, Cluster, string, EndpointSlice>? OfSlice { get; init; }

    internal Func<NodeObject, NodeObject>? OfNode { get; init; }

    /// <summary>Whether objects that are deleted stay.</summary>
    internal bool Keeps { get; init; }

    private string _node = "";

    internal override string[] Change(string[] arguments)
    {
        const string flag = "--hostname-override=";
        _node = arguments.FirstOrDefault(a => a.StartsWith(flag, StringComparison.Ordinal))?[flag.Length..] ?? "";
        return arguments;
    }

    internal override IFeed Follow(IFeed feed) => new ChangedFeed(feed, this);

    /// <summary>Changes what a feed has brought, each object once.</summary>
    private sealed class ChangedFeed(IFeed feed, ObjectFault fault) : IFeed
    {
        private readonly ConditionalWeakTable<object, object> _made = [];
        private readonly Dictionary<ObjectName, Service> _services = [];
        private readonly Dictionary<ObjectName, EndpointSlice> _slices = [];

        public IReadOnlyList<string> Unread => feed.Unread;

        public Taken Take(Cluster cluster)
        {
            var taken = feed.Take(cluster);
            if (fault.Keeps)
                Keep(cluster);
            if (fault.OfService is { } ofService)
                Change(cluster.Services.Values, ofService, cluster.Put);
            if (fault.OfNode is { } ofNode)
                Change(cluster.Nodes.Values, ofNode, cluster.Put);
            if (fault.OfSlice is { } ofSlice)
                Change(cluster.Slices.Values, s => ofSlice(s, cluster, fault._node), s => cluster.Put(s));
            return taken;
        }

        public void Dispose() => feed.Dispose();

        private void Change<T>(IEnumerable<T> objects, Func<T, T> change, Action<T> put)
            where T : class
        {
            foreach (var item in objects.Where(o => !_made.TryGetValue(o, out _)).ToList())
            {
                var made = change(item);
                _made.AddOrUpdate(made, made);
                put(made);
            }
        }

        private void Keep(Cluster cluster)
        {
            foreach (var (name, service) in cluster.Services)
                _services[name] = service;
            foreach (var slice in cluster.Slices.Values)
                _slices[slice.Name] = slice;
            foreach (var service in _services.Values.Where(s => !cluster.Services.ContainsKey(s.Name)))
            {
                cluster.Put(service);
                foreach (var slice in _slices.Values.Where(s => s.Service == service.Name))
                    cluster.Put(slice);
            }
        }
    }
}
