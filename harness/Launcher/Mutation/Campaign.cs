using System.Collections.Concurrent;
using System.Diagnostics;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Runner;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.Mutation;

/// <summary>
/// Puts one mutant after another under test, on several kernels at once, until a claim is violated. A claim that is broken has seen
/// nothing.
/// </summary>
/// <param name="kernel">The kernel of the labs.</param>
/// <param name="folder">The campaign's folder; each mutant has one in it.</param>
/// <param name="catalogue">The claims.</param>
/// <param name="isQuick">Whether only the claims run that have seen a mutant before.</param>
internal sealed class Campaign(LabKernel kernel, string folder, Catalogue catalogue, bool isQuick)
{
    private const string StateTest = "NodeStateText.State_of_a_node";

    /// <summary>Only these have the proxy under test in them.</summary>
    private readonly List<string> _claims = [.. catalogue.Claims.Values
        .Where(c => c.Topology.StartsWith("cluster", StringComparison.Ordinal)).Select(c => c.Id)];

    private readonly Dictionary<string, string[]> _killers = MutantList.Killers();
    private readonly ConcurrentBag<MutantResult> _results = [];
    private readonly Lock _lock = new();
    private Task<string[]>? _state;

    /// <param name="kernels">How many kernels run at once.</param>
    /// <param name="progress">Called with each mutant that has ended.</param>
    internal async Task<IReadOnlyList<MutantResult>> RunAsync(IReadOnlyList<MutantInfo> mutants, int kernels, Action<MutantResult> progress,
        CancellationToken cancellationToken)
    {
        // Those that no claim has seen so far take longest.
        var waiting = new ConcurrentQueue<MutantInfo>(mutants.OrderBy(m => _killers.ContainsKey(m.Id)));
        await Task.WhenAll(Enumerable.Range(1, kernels).Select(async _ =>
        {
            // An interrupted campaign has the results that there are.
            while (!cancellationToken.IsCancellationRequested && waiting.TryDequeue(out var mutant))
            {
                var result = await TryRunAsync(mutant, cancellationToken);
                if (result is null)
                    return;
                _results.Add(result);
                progress(result);
            }
        }));
        var order = mutants.Select(m => m.Id).ToList();
        return [.. _results.OrderBy(r => order.IndexOf(r.Id))];
    }

    /// <returns>Null when the campaign was interrupted.</returns>
    /// <exception cref="CannotRunHereException">No mutant can run on this kernel.</exception>
    private async Task<MutantResult?> TryRunAsync(MutantInfo mutant, CancellationToken cancellationToken)
    {
        try
        {
            return await RunAsync(mutant, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return null;
        }
        catch (Exception e) when (e is not CannotRunHereException)
        {
            return new MutantResult(mutant.Id, mutant.What, MutantOutcome.Broken, null, e.Message, 0, 0, []);
        }
    }

    private async Task<MutantResult> RunAsync(MutantInfo mutant, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        if (mutant.Equivalent is { } argument)
            return Result(MutantOutcome.Equivalent, null, argument, 0);
        var known = _killers.GetValueOrDefault(mutant.Id, []).Where(catalogue.Claims.ContainsKey).ToList();
        var tests = new List<RunnerEvent>();
        var faults = new List<string>();
        var doubts = new List<string>();
        var others = isQuick ? [] : _claims.Except(known, StringComparer.Ordinal).ToList();
        foreach (var claims in new[] { known, others })
        {
            for (var left = claims; left.Count > 0; left = left.Except(tests.SelectMany(t => t.Claims), StringComparer.Ordinal).ToList())
            {
                var (ran, killer, fault) = await ProveAsync(mutant.Id, left, cancellationToken);
                tests.AddRange(ran);
                faults.AddRange(fault);
                if (killer is null)
                    break;
                // A claim that has not seen this mutant before may have failed by chance: it must see it twice.
                if (known.Contains(killer.Claims[0], StringComparer.Ordinal)
                    || (await ProveAsync(mutant.Id, [killer.Claims[0]], cancellationToken)).Killer is not null)
                {
                    Runs.Forget(FolderOf(mutant.Id));
                    return Result(MutantOutcome.Killed, killer.Claims[0], killer.Message ?? "", tests.Count);
                }
                doubts.Add($"{killer.Claims[0]} was violated once, and then not again: {killer.Message}");
            }
        }
        var broken = tests.Where(t => t.Outcome == "broken").Select(t => $"{string.Join(' ', t.Claims)} {t.ShortName}: {t.Message}")
            .Concat(faults).ToList();
        var twice = doubts.Count > 0 ? " twice" : "";
        var said = string.Join('\n', doubts.Prepend($"{tests.Count} tests, and no claim was violated{twice}."));
        return broken.Count > 0 ? Result(MutantOutcome.Broken, null, string.Join('\n', broken), tests.Count)
            : Result(MutantOutcome.Survived, null, said, tests.Count) with
            {
                Difference = isQuick ? [] : await DifferenceAsync(mutant.Id, cancellationToken)
            };

        MutantResult Result(MutantOutcome outcome, string? claim, string reason, int ran) =>
            new(mutant.Id, mutant.What, outcome, claim, reason, ran, watch.Elapsed.TotalSeconds, []);
    }

    /// <summary>Runs tests until a claim is violated.</summary>
    private async Task<(IReadOnlyList<RunnerEvent> Tests, RunnerEvent? Killer, IReadOnlyList<string> Faults)> ProveAsync(string mutant,
        IEnumerable<string> claims, CancellationToken cancellationToken)
    {
        using var found = new CancellationTokenSource();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(found.Token, cancellationToken);
        RunnerEvent? killer = null;
        var run = RunOf($"mutant={mutant}", FolderOf(mutant));
        try
        {
            var exitCode = await run.RunAsync(string.Join(',', claims.Append(SelectionFilter.WithoutSlow)), [Programs.Suite], test =>
            {
                if (test is { Kind: "test", Outcome: "failed", Claims.Count: > 0 }
                    && Interlocked.CompareExchange(ref killer, test, null) is null)
                    found.Cancel();
            }, Stream.Null, stop.Token);
            if (exitCode == ExitCodes.CannotRunHere)
                throw new CannotRunHereException("No mutant was tested.", string.Join('\n', run.Faults), "There is no score.",
                    "See ./lab doctor, or choose another --kernel.");
        }
        catch (OperationCanceledException) when (killer is not null)
        {
            // no more tests are needed
        }
        return (run.Tests, killer, killer is null ? run.Faults : []);
    }

    private LabRun RunOf(string proxy, string runFolder)
    {
        Directory.CreateDirectory(runFolder);
        return new LabRun(kernel, runFolder) { Proxy = proxy };
    }

    private string FolderOf(string mutant) => Path.Combine(folder, mutant);

    /// <summary>How the state of a node differs from the one that the generator makes.</summary>
    private async Task<IReadOnlyList<string>> DifferenceAsync(string mutant, CancellationToken cancellationToken)
    {
        Task<string[]> right;
        lock (_lock)
            right = _state ??= StateAsync("generator", FolderOf("generator"), cancellationToken);
        var (wanted, state) = (await right, await StateAsync($"mutant={mutant}", FolderOf(mutant), cancellationToken));
        return NodeTables.Difference(wanted, state);
    }

    private async Task<string[]> StateAsync(string proxy, string runFolder, CancellationToken cancellationToken)
    {
        await RunOf(proxy, runFolder).RunAsync(StateTest, [Programs.Suite], _ => { }, Stream.Null, cancellationToken);
        var file = Path.Combine(runFolder, RunFolder.NodeStateFile);
        return File.Exists(file) ? await File.ReadAllLinesAsync(file, cancellationToken) : [];
    }
}
