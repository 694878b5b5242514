using System.Text.Json.Nodes;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Clusters.Kubernetes;
using Conformance.Labs;
using Conformance.Topologies;

namespace Conformance.Clusters.Proxies;

/// <summary>This project's own generator, as a program: <c>ipvs-generator watch</c>.</summary>
public sealed class GeneratorProxy : Proxy
{
    private static readonly string s_generator = ProjectFolder.Program("harness/Generator", "ipvs-generator");

    /// <summary>The program of all mutants. It is there when somebody has asked for one: <c>./lab mutate</c> makes it.</summary>
    public static string MutantProgram { get; } = ProjectFolder.Program("harness/Mutants", "ipvs-generator-mutant");

    /// <summary>Whether it makes the state that kube-proxy makes.</summary>
    public bool IsCompatible { get; init; }

    /// <summary>Whether it follows an API server, and not a folder.</summary>
    public bool FollowsApiServer { get; init; }

    /// <summary>The mutant that takes the generator's place, by its id; null for the generator itself.</summary>
    public string? Mutant { get; init; }

    private const string ListThem = "./lab mutate --list builds their program, and prints them.";

    private string[] Program => Mutant is null ? [s_generator] : [MutantProgram, Mutant];

    /// <inheritdoc/>
    public override string Name => Mutant is null ? Variant : $"mutant={Mutant}{(Variant == "generator" ? "" : $" as {Variant}")}";

    private string Variant => IsCompatible ? "generator-compat" : FollowsApiServer ? "generator-api" : "generator";

    /// <inheritdoc/>
    public override IReadOnlySet<ProxyFeature> Features => Enum.GetValues<ProxyFeature>()
        .Where(f => (IsCompatible
            ? f is not (ProxyFeature.TrafficDistribution or ProxyFeature.SchedulerPerService or ProxyFeature.NodeHints)
            : f is not (ProxyFeature.KubeProxyLayout or ProxyFeature.CurrentChains)) && (FollowsApiServer || f != ProxyFeature.ApiServer))
            .ToHashSet();

    /// <summary>Of mutants many never serve what they are waited for.</summary>
    public override TimeSpan Patience => Mutant is null ? base.Patience : base.Patience / 6;

    /// <inheritdoc/>
    /// <exception cref="HarnessException">There is no such mutant, or no program of the mutants.</exception>
    public override async Task PrepareAsync(CancellationToken cancellationToken)
    {
        if (Mutant is null)
            return;
        if (!File.Exists(MutantProgram))
            throw new HarnessException("The program of the mutants is not there.", MutantProgram, "Nothing was started.", ListThem);
        var ids = JsonNode.Parse(await ListMutantsAsync(cancellationToken))!.AsArray().Select(m => m!["id"]!.GetValue<string>()).ToList();
        if (!ids.Contains(Mutant, StringComparer.Ordinal))
            throw new HarnessException($"There is no mutant '{Mutant}'.", $"mutants.yaml has {ids.Count}.{Nearest.Hint(Mutant, ids)}",
                "Nothing was started.", ListThem);
    }

    /// <summary>Asks the program of the mutants what mutants there are.</summary>
    /// <returns>A JSON array of objects with id, what and equivalent.</returns>
    /// <exception cref="HarnessException">A row of their list is wrong.</exception>
    public static async Task<string> ListMutantsAsync(CancellationToken cancellationToken)
    {
        var list = await Cli.Wrap(MutantProgram).WithArguments("list").WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(cancellationToken);
        return list.IsSuccess ? list.StandardOutput : throw new HarnessException("The mutants cannot be listed.",
            list.StandardError.Trim(), "Nothing was started.", "Correct harness/Mutants/mutants.yaml.");
    }

    /// <inheritdoc/>
    public override Task<string> VersionAsync() => AskVersionAsync(Program[0], [.. Program[1..], "--version"]);

    /// <inheritdoc/>
    public override Task CleanUpAsync(Node node) => node.Command([.. Program, "cleanup"]).TryAsync();

    /// <inheritdoc/>
    public override async Task<IRunningProxy> StartAsync(Node node, ClusterObjects objects, ProxySettings? settings = null)
    {
        var server = FollowsApiServer ? await objects.ServeAsync(node.Namespace) : null;
        var source = server is not null ? new[] { "--master", server.Address.AbsoluteUri }
            : ["-f", "."]; // the working folder: user-mode Linux's hostfs forgets a folder that nobody is in
        return new ProxyProcess(node, [.. Program, "watch", .. source, .. KubeProxy.NodeFlags(node), .. settings?.Flags() ?? [],
            .. IsCompatible ? new[] { "--compat", "kube-proxy" } : []], objects.Folder, server);
    }
}
