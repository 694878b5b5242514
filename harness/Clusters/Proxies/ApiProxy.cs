using System.Text.RegularExpressions;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Clusters.Proxies;

/// <summary>
/// Any program that watches an API server. It is started in each node's namespace, where an API server of the harness listens;
/// <c>{kubeconfig}</c>, <c>{node}</c> and <c>{ip}</c> in its arguments become a file, the node's name, and the node's first address.
/// </summary>
/// <param name="commandLine">The program and its arguments, separated by spaces.</param>
/// <param name="change">What it does more or less than <see cref="DefaultFeatures"/>.</param>
public sealed partial class ApiProxy(string commandLine, FeatureChange change) : Proxy
{
    private static readonly string[] s_placeholders = ["{kubeconfig}", "{node}", "{ip}"];

    private readonly string[] _argv = Checked(commandLine).Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>What is expected of a program of which nothing is said.</summary>
    public static IReadOnlySet<ProxyFeature> DefaultFeatures { get; } =
        new HashSet<ProxyFeature>(CommandProxy.DefaultFeatures) { ProxyFeature.ApiServer };

    /// <summary>
    /// What nothing but the harness's own drivers can have: nobody knows how to give it settings, or to ask it to clean up.
    /// </summary>
    internal static ProxyFeature[] Impossible { get; } = [ProxyFeature.CleanUp, ProxyFeature.Settings];

    /// <inheritdoc/>
    public override string Name => $"api{change}={commandLine}";

    /// <inheritdoc/>
    public override IReadOnlySet<ProxyFeature> Features { get; } = change.Apply(DefaultFeatures);

    /// <inheritdoc/>
    public override Task<string> VersionAsync() => Task.FromResult("");

    /// <inheritdoc/>
    public override async Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null)
    {
        var server = await objects.ServeAsync(node.Namespace);
        var kubeconfig = objects.Kubeconfig(server);
        return new ProxyProcess(node, [.. _argv.Select(word => Replace(word, kubeconfig, node))], objects.Folder, server);
    }

    /// <summary>A word of the command with what the placeholders stand for.</summary>
    internal static string Replace(string word, string kubeconfig, Node node) =>
        s_placeholders.Zip([kubeconfig, node.Name, node.Address.ToString()])
            .Aggregate(word, (text, pair) => text.Replace(pair.First, pair.Second, StringComparison.Ordinal));

    /// <exception cref="HarnessException">A placeholder is none of ours.</exception>
    internal static string Checked(string commandLine) =>
        Placeholder().Matches(commandLine).Select(m => m.Value).Except(s_placeholders, StringComparer.Ordinal).FirstOrDefault() is { } word
            ? throw new HarnessException($"'{word}' stands for nothing.", $"Known are {string.Join(", ", s_placeholders)}.",
                "Nothing was started.", "Correct the command.")
            : commandLine;

    [GeneratedRegex(@"\{[A-Za-z_-]+\}", RegexOptions.None, 1000)]
    private static partial Regex Placeholder();
}
