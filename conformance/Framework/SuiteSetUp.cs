using System.Text.Json;
using Conformance.Labs;
using Conformance.Linux.Namespaces;
using NUnit.Framework.Internal;

namespace Conformance.Suite;

/// <summary>Before the first test and after the last, whatever runner it is.</summary>
[SetUpFixture]
public sealed class SuiteSetUp
{
    [OneTimeSetUp]
    public async Task PrepareRun()
    {
        // Finds the iptables that works, and so loads its modules: without them no kernel tells which matches it has.
        await Toolbox.PrepareAsync();
        Lab.CurrentScope = () => TestExecutionContext.CurrentContext.CurrentTest?.Id ?? "";
        // Allure's own way to say where its results go: a configuration file, named in the environment.
        const string variable = "ALLURE_CONFIG";
        if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 })
            return;
        var config = Path.Combine(RunFolder.Current, "allureConfig.json");
        var content = new { allure = new { directory = Path.Combine(RunFolder.Current, "allure-results") } };
        File.WriteAllText(config, JsonSerializer.Serialize(content));
        Environment.SetEnvironmentVariable(variable, config);
    }

    [OneTimeTearDown]
    public async Task End()
    {
        await SharedClusters.EndAsync();
        // A thread that is left in a namespace would silently do other work there.
        Assert.That(NamespaceUse.StrayThreads(), Is.Empty, "Threads were left outside the root namespace.");
    }
}
