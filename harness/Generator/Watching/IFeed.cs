using Conformance.Generator.Objects;

namespace Conformance.Generator.Watching;

/// <summary>What a feed has brought.</summary>
internal sealed class Taken
{
    /// <summary>The Services concerned.</summary>
    internal HashSet<ObjectName> Services { get; } = [];

    internal bool NodeChanged { get; set; }

    /// <summary>What changed, in words.</summary>
    internal List<string> Reasons { get; } = [];
}

/// <summary>Where objects come from, as they change: files or an API server. It tells its owner, from any thread, when there is something to take.</summary>
internal interface IFeed : IDisposable
{
    /// <summary>What has not been read whole. Until there is nothing of it for the first time, what is missing would be taken for deleted.</summary>
    IReadOnlyList<string> Unread { get; }

    /// <summary>Takes what has happened since the last time into the cluster.</summary>
    Taken Take(Cluster cluster);
}
