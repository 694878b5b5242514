using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Clusters.Proxies;
using Conformance.Labs;

namespace Conformance.Launcher.Mutation;

/// <summary>A generator with one fault (harness/Mutants).</summary>
/// <param name="Equivalent">Why no claim can see the fault; null where one must.</param>
internal sealed record MutantInfo(string Id, string What, string? Equivalent);

/// <summary>The mutants that there are, and the claims that have seen each.</summary>
internal static class MutantList
{
    private static readonly string s_project = Path.Combine(ProjectFolder.Root, "harness", "Mutants");
    private static readonly string s_killers = Path.Combine(s_project, "killers.tsv");

    /// <summary>Makes the program of the mutants, where it is not as new as its sources, and asks it what mutants there are.</summary>
    /// <exception cref="HarnessException">It cannot be made.</exception>
    internal static async Task<IReadOnlyList<MutantInfo>> MakeAsync(CancellationToken cancellationToken)
    {
        Console.Error.WriteLine("Building the mutants where they are not as new as their sources ...");
        var said = await Cli.Wrap(Programs.Dotnet)
            .WithArguments(["publish", Path.Combine(s_project, "Mutants.csproj"), "--configuration", "Release", "-nodeReuse:false",
                "-verbosity:quiet", "-property:PublishesMutants=true"])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(cancellationToken);
        if (!said.IsSuccess)
            throw new HarnessException("The mutants cannot be built.", said.StandardOutput.Trim(), "No mutant was tested.",
                "See what the compiler says.");
        return JsonSerializer.Deserialize<List<MutantInfo>>(await GeneratorProxy.ListMutantsAsync(cancellationToken), Output.JsonOptions)!;
    }

    /// <summary>The claims that have seen each mutant, the latest first, as campaigns with --record-killers stored them.</summary>
    internal static Dictionary<string, string[]> Killers() => File.Exists(s_killers)
        ? File.ReadLines(s_killers).Select(l => l.Split('\t')).ToDictionary(l => l[0], l => l[1].Split(','), StringComparer.Ordinal) : [];

    /// <summary>Stores the claim that saw each mutant, in the source folder, before those that saw it earlier.</summary>
    internal static Task StoreAsync(IEnumerable<MutantResult> results, CancellationToken cancellationToken)
    {
        const int Kept = 3;
        var killers = new SortedDictionary<string, string[]>(Killers(), StringComparer.Ordinal);
        foreach (var result in results)
        {
            if (result.Outcome == MutantOutcome.Equivalent)
                killers.Remove(result.Id);
            else if (result.KilledBy is { } claim)
                killers[result.Id] = [.. killers.GetValueOrDefault(result.Id,
                    []).Prepend(claim).Distinct(StringComparer.Ordinal).Take(Kept)];
        }
        return File.WriteAllLinesAsync(s_killers, killers.Select(k => $"{k.Key}\t{string.Join(',', k.Value)}"), cancellationToken);
    }
}
