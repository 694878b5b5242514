using Conformance.Generator.Model;
using Conformance.Linux;

namespace Conformance.Generator.Sources.Api;

/// <summary>A change of one object, as the API server reports it.</summary>
/// <param name="Item">Null when it is gone, or no proxy serves it any more.</param>
internal sealed record ApiChange(ObjectKey Key, object? Item);

/// <summary>An object of a list or an event.</summary>
/// <param name="Version">Its uid and resource version: it has changed exactly when this has.</param>
internal sealed record ApiItem(ObjectKey Key, string Version, object? Item)
{
    /// <summary>Whether it cannot be read: then what is known of it from before stays.</summary>
    internal bool IsInvalid { get; init; }
}

/// <summary>A resource that a proxy follows, and the selector by which kube-proxy chooses among its objects.</summary>
internal sealed record ApiResource(ObjectKind Kind, string ApiVersion, string Path, string Selector)
{
    private const string NotOurs = "labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io%2Fservice-proxy-name";

    /// <summary>What is followed: of Nodes our own alone, as kube-proxy does, unless the others matter.</summary>
    internal static IReadOnlyList<ApiResource> All(GeneratorOptions options) =>
    [
        new(ObjectKind.Service, "v1", "/api/v1/services", NotOurs),
        new(ObjectKind.EndpointSlice, "discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1/endpointslices", NotOurs),
        new(ObjectKind.Node, "v1", "/api/v1/nodes", options.RefuseNodeAddresses || options.FollowsAllNodes ? ""
        : $"fieldSelector=metadata.name%3D{Uri.EscapeDataString(options.HostnameOverride)}"),
    ];

    /// <summary>Whether a tree says that it is an object, or with the suffix a list, of this resource.</summary>
    internal bool Is(Tree tree, string suffix = "") => tree["kind"]?.Text == $"{Kind}{suffix}" && tree["apiVersion"]?.Text == ApiVersion;

    /// <summary>What a tree says that it is, for messages.</summary>
    internal static string KindOf(Tree tree) => $"{tree["apiVersion"]?.Text} {tree["kind"]?.Text}".Trim() is { Length: > 0 } words ? words
        : "something without a kind";

    /// <summary>Reads an object; one that is invalid is reported.</summary>
    /// <returns>Null when it has not even a name.</returns>
    internal ApiItem? Decode(Tree tree, long size, string source, Action<InputProblem> report)
    {
        var key = ObjectReader.KeyOf(Kind, tree);
        var values = new List<InvalidFieldException>();
        try
        {
            if (key is null)
                throw new InvalidFieldException(0, "metadata.name", "is required");
            if (size > Limits.Bytes)
                throw new InvalidFieldException(0, "", $"is larger than {Limits.Bytes} bytes");
            if (tree.Refused is { } refused)
                throw new InvalidFieldException(0, "", refused.Text);
            var item = new ApiItem(key.Value, VersionOf(tree), ObjectReader.Read(Kind, tree, values) is var read and not NotOurs ? read
                : null);
            foreach (var value in values)
                report(new InputProblem(source, 0, key.Value.ToString(), value.Field, value.Message, ProblemEffect.WithoutValue));
            return item;
        }
        catch (InvalidFieldException e)
        {
            report(new InputProblem(source, 0, key?.ToString() ?? "an object", e.Field, e.Message));
            return key is null ? null : new ApiItem(key.Value, VersionOf(tree), null) { IsInvalid = true };
        }
    }

    internal static string VersionOf(Tree tree) => $"{tree["metadata"]?["uid"]?.Text}/{ResourceVersionOf(tree)}";

    internal static string ResourceVersionOf(Tree tree) => tree["metadata"]?["resourceVersion"]?.Text ?? "";
}
