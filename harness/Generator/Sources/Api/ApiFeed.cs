using System.Collections.Concurrent;
using Conformance.Generator.Model;
using Conformance.Linux;
using Conformance.Linux.Features;

namespace Conformance.Generator.Sources.Api;

/// <summary>The objects of an API server, as they change.</summary>
internal sealed class ApiFeed : IFeed
{
    private readonly ConcurrentQueue<IReadOnlyList<ApiChange>> _changes = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly ApiClient _client;
    private readonly List<ListWatch> _resources;

    internal ApiFeed(ApiConnection connection, GeneratorOptions options, Action changed, Action<InputProblem> report, Action<string> log)
    {
        _client = new ApiClient(connection);
        _resources = [.. ApiResource.All(options).Select(r => new ListWatch(_client, r, Queue, report, log))];
        foreach (var resource in _resources)
            CrashReport.LetRun(resource.RunAsync(_stop.Token), _stop.Token);

        void Queue(IReadOnlyList<ApiChange> changes)
        {
            _changes.Enqueue(changes);
            changed();
        }
    }

    public IReadOnlyList<string> Unread => [.. _resources.Where(r => !r.HasListed).Select(r => r.Name)];

    public Taken Take(Cluster cluster)
    {
        var taken = new Taken();
        foreach (var change in TakeAll())
        {
            taken.Replace(cluster, change.Key, change.Item);
            taken.Reasons.Add(change.Key.ToString());
        }
        return taken;
    }

    private IEnumerable<ApiChange> TakeAll()
    {
        while (_changes.TryDequeue(out var changes))
        {
            foreach (var change in changes)
                yield return change;
        }
    }

    /// <summary>All objects as they are now, read once.</summary>
    /// <exception cref="GeneratorException">They cannot be read.</exception>
    internal static async Task<Cluster> ReadOnceAsync(ApiConnection connection, GeneratorOptions options, Action<InputProblem> report)
    {
        var cluster = new Cluster();
        using var client = new ApiClient(connection);
        foreach (var resource in ApiResource.All(options))
        {
            try
            {
                var (items, _) = await new ListWatch(client, resource, _ => { }, report, _ => { }).ReadAsync(CancellationToken.None);
                foreach (var item in items)
                    cluster.Replace(item.Key, item.Item);
            }
            catch (Exception e) when (e is not OutOfMemoryException) // a broken encoding, say: whatever it is, nothing was read
            {
                throw new GeneratorException($"{client.UriOf(resource.Path)} cannot be read.", ListWatch.Describe(e),
                    "Nothing was done: what is missing would be taken for deleted.",
                    "See that the API server runs, that the kubeconfig is for it, and that its user may list and watch services, " +
                    "endpointslices and nodes.");
            }
        }
        return cluster;
    }

    public void Dispose()
    {
        _stop.Cancel();
        _client.Dispose();
    }
}
