using System.CommandLine;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;
using Conformance.Generator.Sources.Api;
using Conformance.Generator.Sources.Files;
using Conformance.Generator.Watching;

namespace Conformance.Generator.Verbs;

/// <summary>Where the objects come from: files, an API server, or, when nothing is said in a pod, the API server of its cluster.</summary>
internal sealed class InputFlags
{
    private readonly Option<string[]> _files =
        new("--filename", "-f")
        {
            Description = "Files or folders with Services, EndpointSlices and Nodes (YAML or JSON); - is standard " +
        "input."
        };
    private readonly Option<string?> _kubeconfig =
        new("--kubeconfig") { Description = "Read the objects from the API server of this kubeconfig." };
    private readonly Option<string?> _master = new("--master") { Description = "Address of the API server; wins over the kubeconfig's." };

    internal InputFlags(Command verb)
    {
        verb.Options.Add(_files);
        verb.Options.Add(_kubeconfig);
        verb.Options.Add(_master);
    }

    /// <summary>Reads all objects once.</summary>
    /// <exception cref="GeneratorException">They cannot be read whole, or nothing says where they are.</exception>
    internal async Task<Cluster> ReadAsync(ParseResult parsed, GeneratorOptions options, Action<InputProblem> report) =>
        ConnectionOf(parsed, options) is { } connection
            ? await ApiFeed.ReadOnceAsync(connection, options, report)
            : Source.Read(parsed.GetValue(_files)!, report);

    /// <summary>How to follow the objects.</summary>
    /// <exception cref="GeneratorException">They cannot be followed, or nothing says where they are.</exception>
    internal Watcher.OpenFeed Follow(ParseResult parsed, GeneratorOptions options, Action<string> log)
    {
        if (ConnectionOf(parsed, options) is { } connection)
            return (changed, report) => new ApiFeed(connection, options, changed, report, log);
        var files = parsed.GetValue(_files)!;
        if (files.Contains("-", StringComparer.Ordinal))
            throw new GeneratorException("watch cannot follow standard input.", "-f - was given.", "Nothing was done.",
                "Give files or folders; apply takes standard input.", ExitCodes.Usage);
        return (changed, report) => new FileFeed(files, changed, report);
    }

    /// <returns>Null when files are given.</returns>
    private ApiConnection? ConnectionOf(ParseResult parsed, GeneratorOptions options)
    {
        var (kubeconfig, master) = (parsed.GetValue(_kubeconfig), parsed.GetValue(_master));
        var isServer = kubeconfig is not null || master is not null;
        kubeconfig ??= options.Kubeconfig; // --master replaces its server alone
        if (parsed.GetValue(_files) is { Length: > 0 })
        {
            return isServer
                ? throw new GeneratorException("Files and an API server cannot be followed together.",
                    "-f was given with --kubeconfig or --master.", "Nothing was done.", "Give one of them.", ExitCodes.Usage)
                : null;
        }
        if (kubeconfig is null && !isServer && !ApiConnection.IsInCluster)
            throw new GeneratorException("Nothing says where the objects are.",
                "Neither -f nor --kubeconfig nor --master was given, and this is no pod with a service account.", "Nothing was done.",
                "Such as -f services.yaml", ExitCodes.Usage);
        return ApiConnection.Of(kubeconfig, master);
    }
}
