using Conformance.Harness.Kubernetes;
using Conformance.Harness.Labs;

namespace Conformance.Harness.Proxies;

/// <summary>
/// Any program that follows manifests in a folder. It is started in that folder, in the node's namespace, with the
/// folder and the node's name as its last arguments.
/// </summary>
/// <param name="commandLine">The program and its arguments, separated by spaces.</param>
public sealed class CommandProxy(string commandLine) : Proxy
{
    private readonly string[] _argv = commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    public override string Name => $"command={commandLine}";

    public override IReadOnlySet<ProxyFeature> Features { get; } = new HashSet<ProxyFeature> { ProxyFeature.IPv6, ProxyFeature.Sctp, ProxyFeature.HealthCheckNodePort };

    public override Task<string> VersionAsync() => Task.FromResult("");

    public override Task<RunningProxy> StartAsync(Node node, ClusterObjects objects) =>
        Task.FromResult(new RunningProxy(node, [.. _argv, objects.Folder, node.Name], objects.Folder));
}
