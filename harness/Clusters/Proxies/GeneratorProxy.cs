using Conformance.Clusters.Kubernetes;
using Conformance.Labs;

namespace Conformance.Clusters.Proxies;

/// <summary>This project's own generator, as a program: <c>ipvs-generator watch</c>.</summary>
public sealed class GeneratorProxy : Proxy
{
    private static readonly string s_program = ProjectFolder.Program("harness/Generator", "ipvs-generator");

    /// <summary>Whether it makes the state that kube-proxy makes.</summary>
    public bool IsCompatible { get; init; }

    /// <summary>Whether it follows an API server, and not a folder.</summary>
    public bool FollowsApiServer { get; init; }

    /// <inheritdoc/>
    public override string Name => IsCompatible ? "generator-compat" : FollowsApiServer ? "generator-api" : "generator";

    /// <inheritdoc/>
    public override IReadOnlySet<ProxyFeature> Features => Enum.GetValues<ProxyFeature>()
        .Where(f => (IsCompatible
            ? f is not (ProxyFeature.TrafficDistribution or ProxyFeature.SchedulerPerService or ProxyFeature.NodeHints)
            : f is not (ProxyFeature.KubeProxyLayout or ProxyFeature.CurrentChains)) && (FollowsApiServer || f != ProxyFeature.ApiServer))
            .ToHashSet();

    /// <inheritdoc/>
    public override Task<string> VersionAsync() => AskVersionAsync(s_program, "--version");

    /// <inheritdoc/>
    public override Task CleanUpAsync(Node node) => node.Command(s_program, "cleanup").TryAsync();

    /// <inheritdoc/>
    public override async Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null)
    {
        var server = FollowsApiServer ? await objects.ServeAsync(node.Namespace) : null;
        var source = server is not null ? new[] { "--master", server.Address.AbsoluteUri }
            : ["-f", "."]; // the working folder: user-mode Linux's hostfs forgets a folder that nobody is in
        return new ProxyProcess(node, [s_program, "watch", .. source, .. KubeProxy.NodeFlags(node), .. settings?.Flags() ?? [],
            .. IsCompatible ? new[] { "--compat", "kube-proxy" } : []], objects.Folder, server);
    }
}
