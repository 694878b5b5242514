using Conformance.Linux;

namespace Conformance.Generator.Model;

/// <summary>The kinds of objects that a proxy needs.</summary>
public enum ObjectKind
{
    /// <summary>A v1 Service.</summary>
    Service,

    /// <summary>A discovery.k8s.io/v1 EndpointSlice.</summary>
    EndpointSlice,

    /// <summary>A v1 Node.</summary>
    Node,
}

/// <summary>What a change is about: an object's kind and name. A Node has no namespace.</summary>
public readonly record struct ObjectKey(ObjectKind Kind, ObjectName Name)
{
    /// <param name="item">A Service, EndpointSlice or NodeObject.</param>
    public static ObjectKey Of(object item) => item switch
    {
        Service service => new(ObjectKind.Service, service.Name),
        EndpointSlice slice => new(ObjectKind.EndpointSlice, slice.Name),
        NodeObject node => new(ObjectKind.Node, new ObjectName("", node.Name)),
        _ => throw new ArgumentException("Not an object of ours.", nameof(item)),
    };

    /// <inheritdoc/>
    public override string ToString() => $"{Kind} {(Name.Namespace.Length > 0 ? Name.ToString() : Name.Name)}";
}
