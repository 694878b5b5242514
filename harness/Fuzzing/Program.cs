using System.Diagnostics;
using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Text;
using System.Text.Json;

namespace Conformance.Fuzzing;

/// <summary>
/// Gives one reader many inputs. The input that is being read is in a file that outlives this process, so that one that kills it is known.
/// </summary>
internal static class Program
{
    private const int Usage = 2;

    /// <summary>An input that is read for longer hangs.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(1);
    private const int LargestInput = 1 << 20;
    private const int MostFindings = 5;

    private static int Main(string[] args)
    {
        if (args is not [var name, var countText, var seedText, var folder]
            || !int.TryParse(countText, NumberStyles.None, CultureInfo.InvariantCulture, out var count)
            || !int.TryParse(seedText, NumberStyles.None, CultureInfo.InvariantCulture, out var seed))
        {
            Console.Error.WriteLine("Usage: Conformance.Fuzzing TARGET COUNT SEED FOLDER; ./lab fuzz starts it.");
            return Usage;
        }
        var target = Target.All(Path.Combine(folder, $"{name}.scratch")).Single(t => t.Name == name);
        Console.WriteLine(JsonSerializer.Serialize(Run(target, count, seed, folder)));
        return 0;
    }

    private static FuzzResult Run(Target target, int count, int seed, string folder)
    {
        var corpus = target.Corpus;
        var mutator = new Mutator(corpus, new Random(seed));
        using var current = new CurrentInput(Path.Combine(folder, $"{target.Name}.current"), LargestInput);
        using var watchdog = new Timer(_ => current.EndIfOlder(s_limit), null, s_limit, s_limit / 4);
        var findings = new Dictionary<string, string>(StringComparer.Ordinal);
        var watch = Stopwatch.StartNew();
        for (var i = 0; i < count && findings.Count < MostFindings; i++)
        {
            // Of what reads beside others every third input is still JSON.
            var tree = i >= corpus.Count && target.ReadTree is not null && i % 3 == 0 ? mutator.NextTree() : null;
            var input = i < corpus.Count ? corpus[i] : tree is null ? mutator.Next() : Encoding.UTF8.GetBytes(tree.ToJsonString());
            current.Begin(input);
            try
            {
                if (tree is not null)
                    target.ReadTree!(tree);
                else
                    target.Read(input);
            }
            catch (Exception e)
            {
                var where = e.StackTrace?.Split('\n').FirstOrDefault(l => l.Contains("Conformance.", StringComparison.Ordinal))?.Trim();
                if (findings.TryAdd($"{e.GetType().Name} {where}", e.Message))
                    File.WriteAllBytes(Path.Combine(folder, $"finding-{target.Name}-{findings.Count}"), input);
            }
            current.End();
        }
        return new FuzzResult(target.Name, count, watch.Elapsed.TotalSeconds, Process.GetCurrentProcess().PeakWorkingSet64,
            [.. findings.Select(f => $"{f.Key}: {f.Value}")]);
    }

    /// <summary>The input that is being read, in a file: its length, and its bytes.</summary>
    private sealed class CurrentInput : IDisposable
    {
        private readonly int _most;
        private readonly MemoryMappedFile _file;
        private readonly MemoryMappedViewAccessor _view;
        private long _begun;

        internal CurrentInput(string file, int most)
        {
            _most = most;
            _file = MemoryMappedFile.CreateFromFile(file, FileMode.Create, null, most + sizeof(int));
            _view = _file.CreateViewAccessor();
        }

        internal void Begin(byte[] input)
        {
            _view.Write(0, Math.Min(input.Length, _most));
            _view.WriteArray(sizeof(int), input, 0, Math.Min(input.Length, _most));
            Interlocked.Exchange(ref _begun, Stopwatch.GetTimestamp());
        }

        internal void End() => Interlocked.Exchange(ref _begun, 0);

        internal void EndIfOlder(TimeSpan limit)
        {
            if (Interlocked.Read(ref _begun) is var begun and not 0 && Stopwatch.GetElapsedTime(begun) > limit)
                Environment.FailFast($"An input was read for more than {limit.TotalSeconds} s.");
        }

        public void Dispose()
        {
            _view.Dispose();
            _file.Dispose();
        }
    }
}

/// <summary>What came of the inputs of one target, as a line of JSON.</summary>
/// <param name="PeakBytes">The largest resident memory of the process.</param>
/// <param name="Findings">Exceptions that are no errors of the reader's own, each once with its place.</param>
internal sealed record FuzzResult(string Target, int Inputs, double Seconds, long PeakBytes, IReadOnlyList<string> Findings);
