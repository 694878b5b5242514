using System.Globalization;
using System.Text;
using System.Text.Json;
using Conformance.Clusters.Proxies;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Linux;

namespace Conformance.Launcher.Runner;

/// <summary>Runs assemblies of tests on a lab kernel and listens to what the runner there says.</summary>
internal sealed class LabRun(LabKernel kernel, string runFolder)
{
    /// <summary>
    /// The time without an ended or a waiting test after which a runner counts as hung. It is ended, and tests without a result are
    /// reported.
    /// </summary>
    private static readonly TimeSpan s_silence = TimeSpan.FromMinutes(2);

    /// <summary>After the last test: a process that a test left may hold the runner's output.</summary>
    private static readonly TimeSpan s_afterEnd = TimeSpan.FromMinutes(1);

    private readonly List<RunnerEvent> _tests = [];
    private readonly List<string> _claims = [];
    private readonly List<string> _faults = [];
    private readonly List<(int Number, string Why)> _absent = [];
    private readonly List<string> _unmatchedWords = [];
    private readonly List<LabResult> _results = [];
    private readonly Lock _lock = new();
    private int _waits;
    private int _starved;
    private readonly List<TimeSpan> _processor = [];

    /// <summary>The proxy under test; null for the suite's own choice.</summary>
    internal string? Proxy { get; init; }

    /// <summary>How many kernels share the tests.</summary>
    internal int Kernels { get; init; } = 1;

    /// <summary>Whether one test runs at a time.</summary>
    internal bool IsSingle { get; init; }

    /// <summary>The shard of the selected tests that is run here.</summary>
    internal Shard Shard { get; init; } = Shard.All;

    /// <summary>Variables for the runner beside those that every run has.</summary>
    internal IReadOnlyDictionary<string, string> Variables { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Every test that has ended, and every fixture that failed as a whole.</summary>
    internal IReadOnlyList<RunnerEvent> Tests => _tests;

    /// <summary>The claims that the selected tests name.</summary>
    internal IReadOnlyList<string> Claims => _claims;

    /// <summary>How many tests were selected.</summary>
    internal int Selected { get; private set; }

    /// <summary>Until every runner knew its tests, from the command's start.</summary>
    internal TimeSpan RunnerStart { get; private set; }

    /// <summary>Whether no test was selected on any kernel, and none had another fault.</summary>
    internal bool IsEmpty => _results.Count == Kernels && _results.All(r => r.ExitCode == ExitCodes.NothingRan);

    /// <summary>Faults outside tests: the kernel died, an assembly did not load.</summary>
    internal IReadOnlyList<string> Faults => _faults;

    /// <summary>The words of the filter that selected no test of these assemblies.</summary>
    internal IReadOnlyList<string> UnmatchedWords => [.. _unmatchedWords.CountBy(w => w, StringComparer.Ordinal)
        .Where(w => w.Value == Kernels).Select(w => w.Key)];

    /// <summary>Where the run's time went, as text; empty when no kernel came up.</summary>
    internal string DescribeTimes()
    {
        if (_results.Count == 0)
            return "";
        var tests = _results.Select(r => Seconds(r.Times.Command - RunnerStart));
        return $"{(Kernels > 1 ? $"{Kernels} kernels: boot" : "Boot")} {Seconds(_results.Max(r => r.Times.Boot))} s, " +
            $"runner start {Seconds(RunnerStart)} s, tests {string.Join(" and ", tests)} s " +
            $"(processor busy {string.Join(" and ", _processor.Select(Seconds))} s), " +
            $"halt {Seconds(_results.Max(r => r.Times.Halt))} s. {_starved} of {_waits} waits were starved of the processor.";

        static string Seconds(TimeSpan time) => Math.Max(0, time.TotalSeconds).ToString("0.0", CultureInfo.InvariantCulture);
    }

    /// <param name="progress">Called with every test that has ended.</param>
    /// <param name="error">Where the runner's standard error goes.</param>
    internal async Task<int> RunAsync(string filter, IReadOnlyList<string> assemblies, Action<RunnerEvent> progress, Stream error,
        CancellationToken cancellationToken)
    {
        await PrepareAsync(Proxy ?? Environment.GetEnvironmentVariable(Clusters.Proxies.Proxy.Variable), cancellationToken);
        var exitCodes = await Task.WhenAll(Enumerable.Range(1, Kernels)
            .Select(number => RunShardAsync(number, filter, assemblies, progress, error, cancellationToken)));
        // Results of the kernels that came up are kept; the run fails.
        var isNothing = exitCodes.All(c => c == ExitCodes.CannotRunHere);
        _faults.AddRange(isNothing ? _absent.Take(1).Select(a => a.Why) // they are all the same kernel
            : _absent.Select(a => $"Kernel {a.Number} of {Kernels}, whose tests have no result: {a.Why}"));
        return isNothing ? ExitCodes.CannotRunHere
            : _faults.Count > 0 || exitCodes.Contains(ExitCodes.Violated) ? ExitCodes.Violated
            : IsEmpty ? ExitCodes.NothingRan
            : ExitCodes.Ok;
    }

    /// <summary>Gets what a proxy needs of this machine before a kernel boots for it.</summary>
    internal static async Task PrepareAsync(string? proxy, CancellationToken cancellationToken)
    {
        if (string.IsNullOrEmpty(proxy))
            return;
        var parsed = Clusters.Proxies.Proxy.Parse(proxy);
        await parsed.PrepareAsync(cancellationToken);
        if (parsed.NeedsEngine)
            await Need.EnsureAsync(Need.ForContainers, cancellationToken);
    }

    private async Task<int> RunShardAsync(int number, string filter, IReadOnlyList<string> assemblies, Action<RunnerEvent> progress,
        Stream error, CancellationToken cancellationToken)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        var first = TimeSpan.Zero;
        using var silence = new CancellationTokenSource(s_silence);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, cancellationToken);
        var hasEnded = false;
        using var output = new LineStream(line =>
        {
            if (first == TimeSpan.Zero)
                first = watch.Elapsed;
            var reported = JsonSerializer.Deserialize(line, RunnerJson.Default.RunnerEvent)!;
            hasEnded |= reported.Kind == "end";
            silence.CancelAfter(hasEnded ? s_afterEnd : s_silence);
            lock (_lock)
                Hear(reported);
            progress(reported);
        });
        LabResult result;
        try
        {
            result = await kernel.RunAsync(CommandOf(number, filter, assemblies, output, error), stop.Token);
        }
        catch (OperationCanceledException)
        {
            var left = Leftovers.End(runFolder);
            if (!silence.IsCancellationRequested)
                throw;
            Fault((hasEnded ? $"All tests had ended, and {s_afterEnd.TotalSeconds} s later the runner or its output had not."
                : $"For {s_silence.TotalSeconds} s no test ended and none was waiting: the runner was ended.") +
                (left.Count > 0 ? $" These processes of the run were still there, and were ended: {string.Join(", ", left)}." : ""));
            return ExitCodes.Violated;
        }
        catch (LabKernelException e)
        {
            if (!e.BeforeBoot)
            {
                Fault(e.Message);
                return ExitCodes.Violated;
            }
            lock (_lock)
                _absent.Add((number, e.Message));
            return ExitCodes.CannotRunHere;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Fault(Disk.Describe(e));
            return ExitCodes.Violated;
        }
        lock (_lock)
        {
            _results.Add(result);
            RunnerStart = new[] { RunnerStart, first - result.Times.Boot }.Max();
        }
        if (result.ExitCode is not (ExitCodes.Ok or ExitCodes.Violated or ExitCodes.NothingRan))
            Fault($"The runner died with exit code {result.ExitCode}.");
        return result.ExitCode;
    }

    private void Hear(RunnerEvent reported)
    {
        switch (reported.Kind)
        {
            case "start":
                Selected += reported.Count;
                _claims.AddRange(reported.Claims.Except(_claims, StringComparer.Ordinal).ToList());
                break;
            case "test":
                _tests.Add(reported);
                break;
            case "end":
                _waits += reported.Waits;
                _starved += reported.Starved;
                _processor.Add(TimeSpan.FromMilliseconds(reported.ProcessorMs));
                break;
            case "unmatched":
                _unmatchedWords.Add(reported.Name);
                break;
        }
        if (reported.Kind is "start" or "end" && reported.Message is { Length: > 0 } message)
            _faults.Add($"{reported.Name}: {message}");
    }

    private void Fault(string text)
    {
        lock (_lock)
            _faults.Add(text);
    }

    private LabCommand CommandOf(int number, string filter, IReadOnlyList<string> assemblies, Stream output, Stream error) =>
        new([Programs.Dotnet, Programs.Cli, TestRunner.Verb, filter, .. assemblies], runFolder)
        {
            WorkingDirectory = ProjectFolder.Root,
            Variables = new Dictionary<string, string>(RunVariables(kernel, runFolder, Proxy).Concat(Variables), StringComparer.Ordinal)
            {
                [RunFolder.ShardVariable] = $"{Shard} {new Shard(number, Kernels)}",
                [TestRunner.SingleVariable] = IsSingle ? "1" : "",
            },
            KernelFolder = number == 1 ? "kernel" : string.Create(CultureInfo.InvariantCulture, $"kernel-{number}"),
            Output = output,
            Error = error,
        };

    /// <summary>The environment variables for the processes of a run.</summary>
    /// <param name="proxy">The proxy under test; null for what our own environment says.</param>
    internal static Dictionary<string, string> RunVariables(LabKernel kernel, string runFolder, string? proxy = null) =>
        new(StringComparer.Ordinal)
        {
            [Clusters.Proxies.Proxy.Variable] = proxy ?? Environment.GetEnvironmentVariable(Clusters.Proxies.Proxy.Variable) ?? "",
            [RunFolder.Variable] = runFolder,
            [RunFolder.KernelVariable] = kernel.Name,
            ["DOTNET_EnableDiagnostics"] = "0",

            // A day, in hexadecimal milliseconds: a compiler thread that ends when it is idle is created again by whichever thread needs
            // it, and stays in the namespace that this one is in. No runtimeconfig.json can say it.
            ["DOTNET_TC_BackgroundWorkerTimeoutMs"] = "5265C00",

            // No two processes of a run write one file; without locks each file that is read takes two system calls less.
            ["DOTNET_SYSTEM_IO_DISABLEFILELOCKING"] = "1",

            // A pool thread that looks for work before it sleeps takes the one processor of a lab kernel from those that have some.
            ["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0",

            // User-mode Linux maps each page of a process singly, and the host allows 65,530 mappings (vm.max_map_count): collect early,
            // and let long texts, which the evidence of a failed test is made of, die young.
            ["DOTNET_GCgen0size"] = "1000000",
            ["DOTNET_GCLOHThreshold"] = "400000",
            ["DOTNET_GCConserveMemory"] = "6",
            ["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1",
            ["DOTNET_NOLOGO"] = "1",
        };

    /// <summary>Calls back with every line that is written to it.</summary>
    private sealed class LineStream(Action<string> handle) : MemoryStream
    {
        private readonly MemoryStream _line = new();

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            foreach (var value in buffer.Span)
            {
                if (value != '\n')
                {
                    _line.WriteByte(value);
                    continue;
                }
                var text = Encoding.UTF8.GetString(_line.GetBuffer(), 0, (int)_line.Length);
                _line.SetLength(0);
                if (text.Length > 0)
                    handle(text);
            }
            return ValueTask.CompletedTask;
        }
    }
}
