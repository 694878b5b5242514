using Conformance.Labs;
using Conformance.Reports;

namespace Conformance.Suite.Observations;

/// <summary>
/// Writes what a proxy has made on a node of a cluster that has Services of every kind: two proxies, or a generator and its mutant, can be
/// compared by it.
/// </summary>
public sealed class NodeStateText : ClusterFixture
{
    [Test]
    public async Task State_of_a_node()
    {
        var lines = await NodeTables.ReadAsync(Node1);

        lines.ShouldNotBeEmpty("the node has a state");
        WholeFile.Write(Path.Combine(RunFolder.Current, RunFolder.NodeStateFile), string.Join('\n', lines) + '\n');
    }
}
