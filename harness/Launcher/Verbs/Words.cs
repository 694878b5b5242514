using System.CommandLine.Completions;
using Conformance.Labs;
using Conformance.Reports;
using Conformance.Topologies;

namespace Conformance.Launcher.Verbs;

/// <summary>The names that a shell completes for several verbs.</summary>
internal static class Words
{
    internal static IEnumerable<CompletionItem> Topologies(CompletionContext context) => Topology.Names()
        .Select(n => new CompletionItem(n));

    /// <summary>The ids of claims, and those of each chapter with a star.</summary>
    internal static IEnumerable<CompletionItem> Claims(CompletionContext context)
    {
        var catalogue = Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance"));
        return catalogue.Chapters.Select(c => $"{c.Prefix}-*").Concat(catalogue.Claims.Keys).Select(word => new CompletionItem(word));
    }
}
