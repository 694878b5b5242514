using System.Reflection;
using ArchUnitNET.Domain;
using static ArchUnitNET.Fluent.ArchRuleDefinition;
using ArchUnitNET.Loader;
using Conformance.Linux;

namespace Conformance.Tests;

/// <summary>The references between projects and namespaces, as ARCHITECTURE.md draws them.</summary>
public sealed class ArchitectureTests
{
    /// <summary>Each project with the projects that it may use.</summary>
    private static readonly Dictionary<string, string[]> s_arrows = new(StringComparer.Ordinal)
    {
        ["Linux"] = [],
        ["Generator"] = ["Linux"],
        ["Mutants"] = ["Linux", "Generator"],
        ["Topologies"] = ["Linux"],
        ["Packets"] = ["Linux"],
        ["Labs"] = ["Linux", "Packets", "Topologies"],
        ["Traffic"] = ["Linux", "Packets", "Topologies", "Labs"],
        ["Clusters"] = ["Linux", "Packets", "Topologies", "Labs", "Traffic"],
        ["Reports"] = [],
        ["Suite"] = ["Linux", "Packets", "Topologies", "Labs", "Traffic", "Clusters", "Reports"],
        ["Fuzzing"] = ["Linux", "Packets", "Topologies", "Generator"],
        ["Benchmarks"] = ["Linux", "Packets", "Topologies", "Labs", "Traffic", "Clusters", "Generator"],
        ["Launcher"] = ["Linux", "Packets", "Topologies", "Labs", "Traffic", "Clusters", "Reports", "Benchmarks"],
    };

    private static readonly System.Reflection.Assembly[] s_assemblies =
        [.. s_arrows.Keys.Select(name => System.Reflection.Assembly.Load(name switch
        {
            "Generator" => "ipvs-generator",
            "Mutants" => "ipvs-generator-mutant",
            _ => $"Conformance.{name}",
        }))];

    private static readonly Architecture s_architecture = new ArchLoader().LoadAssemblies(s_assemblies).Build();

    private static IEnumerable<string> Projects => s_arrows.Keys;

    [TestCaseSource(nameof(Projects))]
    public void A_project_uses_only_the_projects_below_it(string project)
    {
        var used = UsesOf(project).Where(u => u.To != project && !s_arrows[project].Contains(u.To, StringComparer.Ordinal))
            .Select(u => u.Text);

        used.ShouldBeEmpty();
    }

    [TestCaseSource(nameof(Projects))]
    public void The_namespaces_of_a_project_have_no_cycle(string project)
    {
        var uses = UsesOf(project).Where(u => u.To == project && u.FromNamespace != u.ToNamespace)
            .ToLookup(u => u.FromNamespace, StringComparer.Ordinal);

        foreach (var start in uses.Select(u => u.Key))
            CycleThrough(start, uses).ShouldBeEmpty();
    }

    [Test]
    public void Linux_queues_no_pool_work()
    {
        // Pool work that is queued inside a namespace may run there (BannedSymbols.Linux.txt says it to the compiler as well).
        var calls = Members().That().AreDeclaredIn(Types().That().ResideInAssembly(s_assemblies[0]))
            .GetObjects(s_architecture).SelectMany(m => m.Dependencies).Where(d => d.Target.FullName == typeof(Task).FullName)
            .OfType<ArchUnitNET.Domain.Dependencies.MethodCallDependency>()
                .Where(c => c.TargetMember.Name.StartsWith("Run(", StringComparison.Ordinal));

        calls.Select(c => c.OriginMember.FullName).ShouldBeEmpty();
    }

    [Test]
    public void Only_the_suite_and_the_runner_use_NUnit()
    {
        var users = s_architecture.Types.Where(
            t => t.Dependencies.Any(d => d.Target.FullName.StartsWith("NUnit.", StringComparison.Ordinal)))
            .Select(t => t.Namespace.FullName).Distinct().Where(n => !n.StartsWith("Conformance.Suite", StringComparison.Ordinal));

        users.ShouldBe(["Conformance.Launcher.Runner"]);
    }

    private sealed record Use(string To, string FromNamespace, string ToNamespace, string Text);

    /// <summary>
    /// In the first process of a container, where .NET has started one process, it collects the children of
    /// <see cref="Linux.Processes.Tool"/> as well.
    /// </summary>
    [Test]
    public void The_generator_starts_programs_in_one_way()
    {
        foreach (var assembly in new[] { typeof(global::Conformance.Generator.Model.Service).Assembly,
            typeof(Linux.Processes.Tool).Assembly })
            assembly.GetReferencedAssemblies().Select(a => a.Name).ShouldNotContain("CliWrap", assembly.GetName().Name);
    }

    private static IEnumerable<Use> UsesOf(string project) =>
        from type in s_architecture.Types
        where ProjectOf(type) == project
        from dependency in type.Dependencies
        let to = ProjectOf(dependency.Target)
        where to is not null
        select new Use(to, type.Namespace.FullName, dependency.Target.Namespace.FullName,
            $"{type.FullName} uses {dependency.Target.FullName}");

    /// <summary>The uses of the shortest way from a namespace back to itself; none when there is no way.</summary>
    private static IReadOnlyList<string> CycleThrough(string start, ILookup<string, Use> uses)
    {
        var ways = new Queue<(string At, string[] Way)>([(start, [])]);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        while (ways.TryDequeue(out var next))
        {
            foreach (var use in uses[next.At])
            {
                if (use.ToNamespace == start)
                    return [.. next.Way, use.Text];
                if (seen.Add(use.ToNamespace))
                    ways.Enqueue((use.ToNamespace, [.. next.Way, use.Text]));
            }
        }
        return [];
    }

    private static string? ProjectOf(IType type) => type.FullName.Split('.') is ["Conformance", var project, ..]
        && s_arrows.ContainsKey(project) ? project : null;
}
