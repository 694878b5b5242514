using Conformance.Kernel;

[assembly: LevelOfParallelism(8)]
[assembly: Parallelizable(ParallelScope.All)]

namespace Conformance.KernelTests;

[SetUpFixture]
public sealed class AssemblySetUp
{
    [OneTimeTearDown]
    public void CheckThreads() => Assert.That(NamespaceUse.StrayThreads(), Is.Empty, "Threads were left outside the root namespace.");
}
