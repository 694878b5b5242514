using Conformance.Linux.Namespaces;

// The lab kernel has one processor: more than a few at a time gain nothing, and starve the programs that the tests wait for.
[assembly: LevelOfParallelism(3)]
[assembly: Parallelizable(ParallelScope.All)]

namespace Conformance.KernelTests;

[SetUpFixture]
public sealed class AssemblySetUp
{
    [OneTimeTearDown]
    public void CheckThreads() => Assert.That(NamespaceUse.StrayThreads(), Is.Empty, "Threads were left outside the root namespace.");
}
