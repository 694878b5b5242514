using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Clusters.Proxies;

/// <summary>
/// Any program that follows manifests in a folder. It is started in that folder, in the node's namespace, with the
/// folder and the node's name as its last arguments.
/// </summary>
/// <param name="commandLine">The program and its arguments, separated by spaces.</param>
/// <param name="change">What it does more or less than <see cref="DefaultFeatures"/>.</param>
public sealed class CommandProxy(string commandLine, FeatureChange change) : Proxy
{
    /// <summary>What is expected of a command of which nothing is said.</summary>
    public static IReadOnlySet<ProxyFeature> DefaultFeatures { get; } =
        new HashSet<ProxyFeature> { ProxyFeature.IPv6, ProxyFeature.Sctp, ProxyFeature.HealthCheckNodePort,
            ProxyFeature.NodePortsOnAllAddresses };

    private readonly string[] _argv = commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>What nothing but the harness's own drivers can have: a command knows no API server, and is not asked to clean up.</summary>
    internal static ProxyFeature[] Impossible { get; } = [ProxyFeature.ApiServer, ProxyFeature.CleanUp, ProxyFeature.Settings];

    /// <inheritdoc/>
    public override string Name => $"command{change}={commandLine}";

    /// <inheritdoc/>
    public override IReadOnlySet<ProxyFeature> Features { get; } = change.Apply(DefaultFeatures);

    /// <inheritdoc/>
    public override Task<string> VersionAsync() => Task.FromResult("");

    /// <inheritdoc/>
    public override Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null) =>
        Task.FromResult<IRunningProxy>(new ProxyProcess(node, [.. _argv, objects.Folder, node.Name], objects.Folder));
}
