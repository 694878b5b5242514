using Conformance.Generator.Model;

namespace Conformance.Generator.Decisions;

/// <summary>
/// The objects, and what follows from them: the first half of the story, objects to decisions to desired state. A
/// change to an object costs what its Service is large, not what the cluster is.
/// </summary>
public sealed class World
{
    private readonly Decider _decider;
    private readonly Dictionary<ObjectName, IReadOnlyList<string>> _warnings = [];

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

    /// <summary>The node that is decided for.</summary>
    public NodeState Node { get; }

    /// <summary>The objects.</summary>
    public Cluster Cluster { get; }

    /// <summary>The decisions: what the kernel should have.</summary>
    public DesiredState Desired { get; }

    /// <summary>
    /// What is wrong with objects that are valid, and what follows from it: ports that two Services want, and what <see
    /// cref="Decisions.Warnings"/> finds.
    /// </summary>
    public IEnumerable<string> Warnings => Desired.Disputes.Select(d => d.ToString()).Concat(_warnings.Values.SelectMany(w => w));

    /// <summary>Decides on one Service again, after its object or its slices changed or went.</summary>
    public void Decide(ObjectName service, Touched touched)
    {
        _warnings.Remove(service);
        if (!Cluster.Services.TryGetValue(service, out var found))
        {
            Desired.Replace(ServiceDecision.Nothing(service), touched);
            return;
        }
        Desired.Replace(_decider.Decide(found, Cluster.SlicesOf(service)), touched);
        if (Decisions.Warnings.Of(found, Desired.Options, Node) is { Count: > 0 } warnings)
            _warnings[service] = warnings;
    }
}
