using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux.Features;

namespace Conformance.Clusters.Proxies;

/// <summary>
/// A container image, of which a container runs on each node as the pod of a proxy's DaemonSet does: privileged, in the node's network,
/// with the kernel's modules, iptables' lock and a kubeconfig. <c>{kubeconfig}</c>, <c>{node}</c> and <c>{ip}</c> in its arguments are
/// replaced as for <see cref="ApiProxy"/>.
/// </summary>
/// <param name="image">An archive's path, or the name of an image that the launcher has taken out of this machine's engine.</param>
/// <param name="arguments">What stands behind the image's entry point; none for the image's own.</param>
/// <param name="change">What it does more or less than <see cref="ApiProxy.DefaultFeatures"/>.</param>
public sealed class ImageProxy(string image, IReadOnlyList<string> arguments, FeatureChange change) : Proxy
{
    private const string Kubeconfig = "/etc/kubernetes/kubeconfig";
    private const string Modules = "/lib/modules";
    private const string Lock = "/run/xtables.lock";

    private readonly IReadOnlyList<string> _arguments = [.. arguments.Select(ApiProxy.Checked)];

    private ImageFile? _file;

    /// <inheritdoc/>
    public override string Name => $"image{change}{(arguments.Count == 0 ? "" : $"[{string.Join(' ', arguments)}]")}={image}";

    /// <inheritdoc/>
    public override IReadOnlySet<ProxyFeature> Features { get; } = change.Apply(ApiProxy.DefaultFeatures);

    /// <inheritdoc/>
    public override bool NeedsEngine => true;

    /// <inheritdoc/>
    public override Task PrepareAsync(CancellationToken cancellationToken) => ImageStore.PrepareAsync(image, cancellationToken);

    /// <summary>The image's name and the beginning of its digest.</summary>
    public override Task<string> VersionAsync()
    {
        var file = Read();
        return Task.FromResult($"{file.Reference ?? Path.GetFileName(file.Path)} {file.Id[..19]}");
    }

    /// <inheritdoc/>
    public override async Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null)
    {
        var server = await objects.ServeAsync(node.Namespace);
        var words = _arguments.Select(word => ApiProxy.Replace(word, Kubeconfig, node)).ToList();
        await File.AppendAllTextAsync(Lock, ""); // a mount needs something to stand on
        var log = new ProxyLog(node, server);
        var file = Read();
        var container = await (await Engine.CurrentAsync()).StartAsync(node, new ContainerSpec(file, words)
        {
            IsPrivileged = true,
            Variables = [$"NODE_NAME={node.Name}", $"NODE_IP={node.Address}", $"KUBECONFIG={Kubeconfig}"],
            Mounts = [new(objects.Kubeconfig(server), Kubeconfig), new(Lock, Lock, IsReadOnly: false), .. ModulesOfKernel()],
        }, log.Append);
        node.Lab.Note(node, $"start a container of {image}");
        return new RunningImage(node, $"container of {image}: {string.Join(' ', words.Count > 0 ? words : file.Command)}", container, log);
    }

    /// <summary>The folder of the running kernel's modules, which may be a link to elsewhere: a container would not find its end.</summary>
    private static IEnumerable<ContainerMount> ModulesOfKernel()
    {
        var folder = Path.Combine(Modules, KernelFeatures.Current.Release);
        if (Directory.Exists(folder))
            yield return new ContainerMount(Directory.ResolveLinkTarget(folder, returnFinalTarget: true)?.FullName ?? folder, folder);
    }

    private ImageFile Read() => _file ??= ImageFile.Read(ImageStore.PathOf(image));

    private sealed class RunningImage(Node node, string description, Container container, ProxyLog log) : IRunningProxy
    {
        public Node Node => node;

        public string Description => description;

        public string Log => log.ToString();

        public bool HasEnded => container.HasEnded;

        public async ValueTask DisposeAsync()
        {
            await container.DisposeAsync();
            await log.SaveAsync(description);
        }
    }
}
