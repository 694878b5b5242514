using Conformance.Generator.Decisions;
using Conformance.Generator.Objects;

namespace Conformance.Generator;

/// <summary>
/// The objects, and what follows from them: the first half of the story, objects to decisions to desired state. A
/// change to an object costs what its Service is large, not what the cluster is.
/// </summary>
public sealed class World
{
    private readonly Decider _decider;

    /// <param name="node">The state of the node; when it changes, a new world is decided from the same objects.</param>
    public World(GeneratorOptions options, NodeState node, Cluster cluster)
    {
        Node = node;
        Cluster = cluster;
        Desired = new DesiredState(options);
        _decider = new Decider(options, node);
        foreach (var service in cluster.Services.Keys)
            Decide(service, new Touched());
    }

    public NodeState Node { get; }

    public Cluster Cluster { get; }

    public DesiredState Desired { get; }

    /// <summary>Decides one Service anew, after its object or its slices changed or went.</summary>
    public void Decide(ObjectName service, Touched touched) => Desired.Replace(
        Cluster.Services.TryGetValue(service, out var found) ? _decider.Decide(found, Cluster.SlicesOf(service)) : ServiceDecision.Nothing(service), touched);
}
