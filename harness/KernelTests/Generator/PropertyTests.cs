using System.Globalization;
using Conformance.Generator.Decisions;
using Conformance.Generator.Documents;
using Conformance.Generator.Model;
using Conformance.Generator.Sync;
using Conformance.Labs;
using Conformance.Linux;
using FsCheck;
using FsCheck.Fluent;

namespace Conformance.KernelTests.Generator;

/// <summary>What holds for any objects, on a real kernel.</summary>
public sealed class PropertyTests
{
    private const int Cases = 20;
    private static readonly GeneratorOptions s_options =
        new() { HostnameOverride = "node1", ClusterCidr = [System.Net.IPNetwork.Parse("10.244.0.0/16")], ConntrackMaxPerCore = 0 };

    private static readonly Gen<GeneratorOptions> s_anyOptions = Gen.Elements(
        s_options, s_options with { CompatKubeProxy = true },
            s_options with { MasqueradeAll = true, NodePortAddresses = [System.Net.IPNetwork.Parse("192.168.113.0/24")] },
        s_options with { ClusterCidr = [], IpvsScheduler = "mh", IptablesMasqueradeBit = 15 });

    [Test, Parallelizable]
    public void Second_of_any_two_clusters_decides_and_cleanup_restores() => Seeded.Check(
        (from first in RandomClusters.Cluster
         from second in RandomClusters.Cluster
         from options in s_anyOptions
         select (first, second, options)).ToArbitrary(),
        async pair =>
        {
            var options = pair.options;
            await using var used = await StartAsync();
            await using var fresh = await StartAsync();
            var before = await used.StateAsync();

            used.Sync(options, pair.first).Errors.ShouldBeEmpty();
            used.Sync(options, pair.second).Errors.ShouldBeEmpty();
            used.Sync(options, pair.second).Messages.ShouldBe(0, "nothing to change means nothing written");
            fresh.Sync(options, pair.second).Errors.ShouldBeEmpty();

            var after = await used.StateAsync();
            after.Differences(await fresh.StateAsync()).ShouldBeEmpty();
            (new Cleaner(used.Kernel, options).Clean()).Errors.ShouldBeEmpty();
            if (options.CompatKubeProxy)
                return; // leaves what kube-proxy leaves: see the recording 33
            (await used.StateAsync()).Differences(before)
                .Where(d => !IsEmptyTable(d) && !d.StartsWith("sysctls.txt", StringComparison.Ordinal))
                .ShouldBeEmpty("all but sysctls, which stay");
        }, Cases);

    [Test, Parallelizable]
    public void Single_changes_equal_the_whole() => Seeded.Check(
        (from first in RandomClusters.Cluster from second in RandomClusters.Cluster select (first, second)).ToArbitrary(),
        async pair =>
        {
            await using var stepwise = await StartAsync();
            var cluster = pair.first;
            var node = NodeStates.Of(s_options, cluster, stepwise.Kernel.NodeAddresses());
            var world = new World(s_options, node, cluster);
            stepwise.Synchronizer.SyncAll(world.Desired, node).Errors.ShouldBeEmpty();

            foreach (var (change, index) in ChangesBetween(cluster, pair.second).Select((c, i) => (c, i)))
            {
                var touched = new Conformance.Generator.Decisions.Touched();
                foreach (var service in change())
                    world.Decide(service, touched);
                stepwise.Synchronizer.Sync(world.Desired, node, touched).Errors.ShouldBeEmpty(
                    index.ToString(CultureInfo.InvariantCulture));
            }

            // Read again, nothing differs: what the synchronizer believes of the kernel is so.
            SyncPlan.Of(Difference.Of(new World(s_options, node, pair.second).Desired, stepwise.Kernel.Read(s_options),
                node)).Changes.ShouldBeEmpty();
        }, Cases);

    [Test, Parallelizable]
    public void Every_document_is_accepted_by_its_tool_and_makes_the_same_state() => Seeded.Check(
        RandomClusters.Cluster.ToArbitrary(),
        async cluster =>
        {
            await using var byTools = await StartAsync();
            var node = NodeStates.Of(s_options, cluster, byTools.Kernel.NodeAddresses());
            var desired = new World(s_options, node, cluster).Desired;
            var folder = Path.Combine(RunFolder.Current, "property", Guid.NewGuid().ToString("N"));
            DocumentSet.Of(desired, node).Write(folder);

            await GoldenTests.LoadAsync(byTools.Node, folder);

            SyncPlan.Of(Difference.Of(desired, byTools.Kernel.Read(s_options), node)).Changes.ShouldBeEmpty();
            Directory.Delete(folder, recursive: true);
        }, Cases);

    /// <summary>The changes that turn one cluster into another, object by object, each telling which Services it concerns.</summary>
    private static IEnumerable<Func<IEnumerable<ObjectName>>> ChangesBetween(Cluster cluster, Cluster wanted)
    {
        foreach (var slice in cluster.Slices.Values.Where(s => !wanted.Slices.ContainsKey(s.Name)).ToList())
            yield return () => [cluster.RemoveSlice(slice.Name)!.Value];
        foreach (var service in wanted.Services.Values)
        {
            yield return () =>
            {
                cluster.Put(service);
                return [service.Name];
            };
        }
        foreach (var slice in wanted.Slices.Values)
            yield return () => cluster.Put(slice);
        foreach (var name in cluster.Services.Keys.Except(wanted.Services.Keys).ToList())
        {
            yield return () =>
            {
                cluster.RemoveService(name);
                return [name];
            };
        }
    }

    private static Task<Machine> StartAsync() => Machine.StartAsync(Scenario.Load("20-dual-stack"));

    /// <summary>A table that was read once stays, empty: the kernel has no way to unload it.</summary>
    private static bool IsEmptyTable(string difference) => difference.Contains("tables-save.txt: + *", StringComparison.Ordinal)
        || difference.Contains("tables-save.txt: + :", StringComparison.Ordinal)
        || difference.EndsWith("+ COMMIT", StringComparison.Ordinal);
}
