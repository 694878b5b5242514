using Conformance.Labs;

namespace Conformance.KernelTests.Generator.Flows;

/// <summary>Compares what came of flows with what the explanations say.</summary>
internal static class FlowJudge
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);

    /// <summary>How many cases have as many flows as were asked for by <see cref="RunFolder.FlowsVariable"/>.</summary>
    /// <param name="usual">Flows where nobody asked.</param>
    internal static int CasesOf(int usual) =>
        (int)Math.Ceiling((RunFolder.Number(RunFolder.FlowsVariable) ?? usual) / FlowCase.FlowsOfCase);

    /// <returns>Whether all were so at once; on a busy machine an answer comes late, and the flow is asked again, alone.</returns>
    /// <exception cref="AssertionException">One is otherwise.</exception>
    internal static async Task<bool> AreAsPredictedAsync(Lab lab, FlowCase value, List<IReadOnlyList<Way>> predictions,
        FlowResult[] results)
    {
        var isFirst = true;
        for (var i = 0; i < results.Length; i++)
        {
            if (predictions[i].Any(w => w.Agrees(value.Flows[i], results[i])))
                continue;
            isFirst = false;
            // Nothing but lateness gets a second chance.
            var isLate = results[i].End == FlowEnd.Silent
                || predictions[i].Any(w => w.Agrees(value.Flows[i], results[i] with { GoesOn = true }));
            if (!isLate)
                throw Wrong(i);
            results[i] = (await Burst.AskAsync(lab, [value.Flows[i]], s_patience))[0];
            if (!predictions[i].Any(w => w.Agrees(value.Flows[i], results[i])))
                throw Wrong(i);
        }
        // With session affinity a client has one endpoint.
        foreach (var same in value.Flows.Zip(predictions, results).Where(f => IsPersistent(f.Second))
            .GroupBy(f => f.First, f => f.Third.Server))
            same.Distinct(StringComparer.Ordinal).Count().ShouldBe(1, same.Key.ToString());
        return isFirst;

        AssertionException Wrong(int i) => new($"{value.Flows[i]}: {results[i]}, and the explanation says: " +
            string.Join("\nor: ", predictions[i]));
    }

    private static bool IsPersistent(IReadOnlyList<Way> ways) => ways[0].End == FlowEnd.Answered
        && ways.All(w => w.Walks.Any(n => n.Walk.Server?.Server.PersistenceSeconds > 0));
}
