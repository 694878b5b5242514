using System.Globalization;
using System.Text;
using System.Text.Json;
using Allure.Net.Commons;
using Conformance.Labs;
using Conformance.Reports;
using NUnit.Framework.Interfaces;

namespace Conformance.Suite;

/// <summary>What the suite adds to Allure's results, which NUnit alone does not know: claims, evidence, surroundings.</summary>
internal static class AllureResults
{
    /// <summary>Allure's own way to say where its results go: a configuration file, named in the environment.</summary>
    private const string ConfigVariable = "ALLURE_CONFIG";

    /// <summary>Lets Allure write into the run's folder, unless the user has a configuration.</summary>
    internal static void Prepare()
    {
        if (Environment.GetEnvironmentVariable(ConfigVariable) is { Length: > 0 })
            return;
        var config = Path.Combine(RunFolder.Current, "allureConfig.json");
        var content = new { allure = new { directory = Path.Combine(RunFolder.Current, "allure-results") } };
        WholeFile.Write(config, JsonSerializer.Serialize(content)); // the runner on another kernel of this run may read it
        Environment.SetEnvironmentVariable(ConfigVariable, config);
    }

    /// <summary>Puts a test into its chapter, and names its claims.</summary>
    internal static void Describe(ITest test)
    {
        var claims = Claims.Of(test).ToList();
        if (claims.Count == 0)
            return;
        var chapter = Claims.Catalogue.ChapterOf(claims[0]);
        AllureApi.SetParentSuite(chapter.Title);
        AllureApi.SetSuite(test.TypeInfo?.Type.Name ?? "");
        AllureApi.AddEpic(claims[0].Profile);
        AllureApi.AddFeature(chapter.Title);
        foreach (var claim in claims)
            AllureApi.AddStory($"{claim.Id} {claim.Proved}");
        AllureApi.SetDescription(string.Join("\n\n", claims.Select(c => $"**{c.Id}** {c.Proved} {c.Method}")));
    }

    /// <summary>Adds a test's steps, stories, tables and captures.</summary>
    internal static void Add(Evidence evidence)
    {
        foreach (var step in evidence.Steps)
            AllureApi.Step($"{step.Node}: {step.Text}");
        var stories = evidence.Flows.Select(
            f => $"{f.From} asked {f.Protocol} {f.Target}: {f.Outcome}\n{string.Join('\n', f.Packets.Select(LineOf))}");
        Attach("stories", string.Join("\n\n", stories));
        foreach (var table in evidence.Tables)
            Attach($"{table.Title} of {table.Node}", table.Text);
        foreach (var attachment in evidence.Attachments)
            AllureApi.AddAttachment(attachment.Name, attachment.Type, Path.Combine(RunFolder.Current, attachment.Path));
    }

    /// <summary>Writes what Allure shows of the whole run: its environment, and what executed it.</summary>
    internal static void Complete()
    {
        var folder = AllureLifecycle.Instance.ResultsDirectory;
        var environment = new StringBuilder();
        environment.Append(CultureInfo.InvariantCulture, $"kernel={SuiteSetUp.Kernel.Release} ({SuiteSetUp.Kernel.Kind})\n");
        environment.Append(CultureInfo.InvariantCulture,
            $"proxy={SharedClusters.Started?.Name ?? SharedClusters.Chosen.Name} {SharedClusters.Started?.Version}\n");
        foreach (var (package, version) in ToolVersions.All)
            environment.Append(CultureInfo.InvariantCulture, $"{package}={version}\n");
        WholeFile.Write(Path.Combine(folder, "environment.properties"), environment.ToString());
        WholeFile.Write(Path.Combine(folder, "executor.json"), JsonSerializer.Serialize(
            new { name = "IPVS conformance", type = "local", buildName = Path.GetFileName(RunFolder.Current) }));
    }

    private static string LineOf(PacketRecord packet) => string.Create(CultureInfo.InvariantCulture,
        $"{packet.Ms,9:0.000} ms  {packet.Node}:{packet.Device} {packet.Direction} " +
            $"{packet.Packet}{(packet.Rewrite is null ? "" : $"  <- rewrote {packet.Rewrite}")}");

    private static void Attach(string name, string text) =>
        AllureApi.AddAttachment(name, "text/plain", Encoding.UTF8.GetBytes(text), ".txt");
}
