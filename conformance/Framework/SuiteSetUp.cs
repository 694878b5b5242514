using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Linux.Features;
using Conformance.Linux.Namespaces;
using Conformance.Reports;
using NUnit.Framework.Internal;

namespace Conformance.Suite;

/// <summary>Before the first test and after the last, whatever runner it is.</summary>
[SetUpFixture]
public sealed class SuiteSetUp
{
    private static readonly DateTimeOffset s_startedAt = DateTimeOffset.UtcNow;

    /// <summary>The kernel that this process runs on.</summary>
    internal static KernelRecord Kernel { get; } =
        new(Environment.GetEnvironmentVariable(RunFolder.KernelVariable) ?? "host", KernelFeatures.Current.Release);

    [OneTimeSetUp]
    public async Task PrepareRun()
    {
        // Finds the iptables that works, and so loads its modules: without them no kernel tells which matches it has.
        await Toolbox.PrepareAsync();
        Lab.CurrentScope = () => TestExecutionContext.CurrentContext.CurrentTest?.Id ?? "";
        AllureResults.Prepare();
    }

    [OneTimeTearDown]
    public async Task End()
    {
        try
        {
            await SharedClusters.EndAsync();
        }
        finally
        {
            Store();
        }
        // A thread that is left in a namespace would silently do other work there.
        Assert.That(NamespaceUse.StrayThreads(), Is.Empty, "Threads were left outside the root namespace.");
    }

    private static void Store()
    {
        try
        {
            WriteRun();
            AllureResults.Complete();
        }
        catch (IOException e)
        {
            // Tests have failed for the same reason, and the launcher explains it.
            Console.Error.WriteLine($"The suite could not write what it knows of the run: {e.Message}");
        }
    }

    /// <summary>Says what this process knows of the run; the launcher, or a reader, joins the processes of several kernels.</summary>
    private static void WriteRun()
    {
        var implementation = SharedClusters.Started;
        var (supported, unsupported) = implementation is null ? ([], [])
            : (Words(SharedClusters.Has), Words(f => !SharedClusters.Has(f)));
        (RunRecord.Of(RunFolder.Current) with
        {
            StartedAt = s_startedAt,
            Implementation = implementation,
            SupportedFeatures = supported,
            UnsupportedFeatures = unsupported,
            Kernel = Kernel,
            Tools = ToolVersions.All,
            Facts = Facts.All,
        }).Write(RunFolder.Current, $"suite-{RunFolder.Numbered(1)}.json");

        static IReadOnlyList<string> Words(Func<ProxyFeature, bool> isSo) =>
            [.. Enum.GetValues<ProxyFeature>().Where(isSo).Select(FeatureChange.Word)];
    }
}
