using Conformance.Clusters;
using Conformance.Labs.Waiting;

namespace Conformance.Suite;

/// <summary>Traffic that goes on while something else happens.</summary>
internal static class Load
{
    /// <summary>Asks again and again while something is done.</summary>
    /// <returns>What each question came to.</returns>
    internal static async Task<IReadOnlyList<T>> WhileAsync<T>(Cluster cluster, Func<Task<T>> ask, Func<Task> act)
    {
        using var end = new CancellationTokenSource();
        // It beats: where a kernel is emulated, the questions may take all its time for minutes.
        using var patience = new Patience(cluster.Limit + Timeouts.Command);
        var load = Task.Run(async () =>
        {
            var answers = new List<T>();
            while (!end.IsCancellationRequested)
            {
                answers.Add(await ask());
                // Minutes of it would overflow the captures.
                await Task.Delay(TimeSpan.FromMilliseconds(cluster.Proxy.IsSlow ? 500 : 50));
            }
            return answers;
        });
        try
        {
            await act();
        }
        catch
        {
            await end.CancelAsync();
            await ((Task)load).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }
        await end.CancelAsync();
        return await load;
    }
}
