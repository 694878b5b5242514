using Conformance.Generator.Model;

namespace Conformance.Generator.Sources;

/// <summary>What a feed has brought.</summary>
internal sealed class Taken
{
    /// <summary>The Services concerned.</summary>
    internal HashSet<ObjectName> Services { get; } = [];

    internal bool NodeChanged { get; private set; }

    /// <summary>What changed, in words.</summary>
    internal List<string> Reasons { get; } = [];

    internal int ServiceChanges { get; private set; }

    internal int SliceChanges { get; private set; }

    /// <summary>Puts an object into the cluster in the place of its earlier version; null takes it away.</summary>
    internal void Replace(Cluster cluster, ObjectKey key, object? item)
    {
        Services.UnionWith(cluster.Replace(key, item));
        NodeChanged |= key.Kind == ObjectKind.Node;
        ServiceChanges += key.Kind == ObjectKind.Service ? 1 : 0;
        SliceChanges += key.Kind == ObjectKind.EndpointSlice ? 1 : 0;
    }
}

/// <summary>
/// Where objects come from, as they change: files or an API server. It tells its owner, from any thread, when there is something to take.
/// </summary>
internal interface IFeed : IDisposable
{
    /// <summary>
    /// What has not been read whole. Until there is nothing of it for the first time, what is missing would be taken for deleted.
    /// </summary>
    IReadOnlyList<string> Unread { get; }

    /// <summary>Takes what has happened since the last time into the cluster.</summary>
    Taken Take(Cluster cluster);
}
