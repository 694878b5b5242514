using Conformance.Harness.Proxies;

namespace Conformance.Suite;

/// <summary>Traffic that goes on while something else happens.</summary>
internal static class Load
{
    /// <summary>Asks again and again while something is done.</summary>
    /// <returns>Who answered, each time.</returns>
    internal static async Task<IReadOnlyList<string>> WhileAsync(Cluster cluster, Func<Task<IReadOnlyDictionary<string, int>>> ask, Func<Task> act)
    {
        using var end = new CancellationTokenSource();
        var load = Task.Run(async () =>
        {
            var answered = new List<string>();
            while (!end.IsCancellationRequested)
            {
                foreach (var (server, count) in await ask())
                    answered.AddRange(Enumerable.Repeat(server, count));
                await Task.Delay(TimeSpan.FromMilliseconds(cluster.Proxy.IsSlow ? 500 : 50)); // minutes of it would overflow the captures
            }
            return answered;
        });
        try
        {
            await act();
        }
        finally
        {
            await end.CancelAsync();
        }
        return await load;
    }
}
