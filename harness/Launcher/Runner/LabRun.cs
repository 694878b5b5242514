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
    /// When for so long no test has ended and none has waited, the runner hangs. It is ended, and tests without a result are reported.
    /// </summary>
    private static readonly TimeSpan s_silence = TimeSpan.FromMinutes(2);

    private readonly List<RunnerEvent> _tests = [];
    private readonly List<string> _claims = [];
    private readonly List<string> _faults = [];
    private readonly List<string> _unmatchedWords = [];

    /// <summary>The proxy under test; null for the suite's own choice.</summary>
    internal string? Proxy { get; init; }

    /// <summary>Every test that has ended, and every fixture that failed as a whole.</summary>
    internal IReadOnlyList<RunnerEvent> Tests => _tests;

    /// <summary>The claims that the selected tests name.</summary>
    internal IReadOnlyList<string> Claims => _claims;

    /// <summary>How many tests were selected.</summary>
    internal int Selected { get; private set; }

    /// <summary>Until the runner knew its tests, from the command's start.</summary>
    internal TimeSpan RunnerStart { get; private set; }

    internal LabResult? Result { get; private set; }

    /// <summary>Faults outside tests: the kernel died, an assembly did not load.</summary>
    internal IReadOnlyList<string> Faults => _faults;

    /// <summary>The words of the filter that selected no test of these assemblies.</summary>
    internal IReadOnlyList<string> UnmatchedWords => _unmatchedWords;

    /// <summary>Where the run's time went, as text; empty when the kernel did not come up.</summary>
    internal string DescribeTimes() => Result is { Times: var t }
        ? string.Create(CultureInfo.InvariantCulture,
            $"Boot {t.Boot.TotalSeconds:0.0} s, runner start {RunnerStart.TotalSeconds:0.0} s, tests " +
                $"{(t.Command - RunnerStart).TotalSeconds:0.0} s, halt {t.Halt.TotalSeconds:0.0} s.")
        : "";

    /// <param name="progress">Called with every test that has ended.</param>
    /// <param name="error">Where the runner's standard error goes.</param>
    internal async Task<int> RunAsync(string filter, IEnumerable<string> assemblies, Action<RunnerEvent> progress, Stream error,
        CancellationToken cancellationToken)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        var first = TimeSpan.Zero;
        using var silence = new CancellationTokenSource(s_silence);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, cancellationToken);
        using var output = new LineStream(line =>
        {
            silence.CancelAfter(s_silence);
            if (first == TimeSpan.Zero)
                first = watch.Elapsed;
            var reported = JsonSerializer.Deserialize(line, RunnerJson.Default.RunnerEvent)!;
            switch (reported.Kind)
            {
                case "start":
                    Selected += reported.Count;
                    _claims.AddRange(reported.Claims.Except(_claims, StringComparer.Ordinal).ToList());
                    break;
                case "test":
                    _tests.Add(reported);
                    break;
                case "unmatched":
                    _unmatchedWords.Add(reported.Name);
                    break;
            }
            if (reported.Kind is "start" or "end" && reported.Message is { Length: > 0 } message)
                _faults.Add($"{reported.Name}: {message}");
            progress(reported);
        });
        try
        {
            Result = await RunKernelAsync(filter, assemblies, output, error, stop.Token);
        }
        catch (OperationCanceledException) when (silence.IsCancellationRequested)
        {
            _faults.Add($"For {s_silence.TotalSeconds} s no test ended and none was waiting: the runner was ended.");
            return ExitCodes.Violated;
        }
        catch (LabKernelException e)
        {
            _faults.Add(e.Message);
            return e.BeforeBoot ? ExitCodes.CannotRunHere : ExitCodes.Violated;
        }
        RunnerStart = first - Result.Times.Boot;
        if (Result.ExitCode is not (ExitCodes.Ok or ExitCodes.Violated or ExitCodes.NothingRan))
            _faults.Add($"The runner died with exit code {Result.ExitCode}.");
        return _faults.Count > 0 ? ExitCodes.Violated : Result.ExitCode;
    }

    private Task<LabResult> RunKernelAsync(string filter, IEnumerable<string> assemblies, Stream output, Stream error,
        CancellationToken cancellationToken) =>
        kernel.RunAsync(
            new LabCommand([Programs.Dotnet, Programs.Cli, TestRunner.Verb, filter, .. assemblies], runFolder)
            {
                WorkingDirectory = ProjectFolder.Root,
                Variables = RunVariables(kernel, runFolder, Proxy),
                Output = output,
                Error = error,
            },
            cancellationToken);

    /// <summary>What the processes of a run are reported in their environment.</summary>
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
