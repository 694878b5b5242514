using System.Diagnostics;
using System.Globalization;
using System.Text;
using CliWrap;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.Trust;

/// <summary>
/// Starts commands of the launcher, sends a signal to any one of their processes at any moment, and looks at what is left. The machine must
/// be quiet: what others leave meanwhile counts as well.
/// </summary>
/// <param name="Count">How many commands are started; one that ends before its moment gets no signal.</param>
internal sealed record KillJob(int Count, int Seed)
{
    private const int Kept = 10;

    /// <summary>Of so many commands whose root tries to escape, one at least lives until it has tried everything.</summary>
    private const int EnoughAttempts = 5;
    private const string Tried = "tried";

    /// <summary>Then standard input ends, at which the shell of <c>up</c> ends by itself.</summary>
    private static readonly TimeSpan s_input = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    /// <summary>The arguments of the launcher, or of the program that a test puts in its place.</summary>
    internal IReadOnlyList<string[]> Commands { get; init; } =
    [
        ["run", "--filter", "SNAT-1"], ["run", "--filter", "K-6", "--kernels", "2"], ["soak", "--minutes", "0.05"], ["up", "article-nat"],
        ["kernel", "--kernel", "uml", "--", "sh", Path.Combine(AppContext.BaseDirectory, "Trust", "escape.sh"),
            $"escaped-{Guid.NewGuid():N}"],
    ];

    /// <summary>Reads what a command could leave on the machine, a line each.</summary>
    internal Func<IReadOnlySet<string>> Read { get; init; } = Surroundings.Read;

    /// <summary>What the arguments are given to.</summary>
    internal IReadOnlyList<string> Launcher { get; init; } = [Programs.Dotnet, Programs.Cli];

    /// <summary>The signal is sent before this.</summary>
    internal TimeSpan LatestMoment { get; init; } = TimeSpan.FromSeconds(7);

    /// <summary>What was not hit may go on for so long. Then the command is interrupted as by Ctrl-C, and has so long again.</summary>
    internal TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(40);

    /// <summary>Runs it, prints what was left, and keeps that for the report.</summary>
    internal async Task<int> RunAsync()
    {
        using var interrupt = new Interrupt();
        var arguments = string.Create(CultureInfo.InvariantCulture, $"--count {Count} --seed {Seed}");
        Console.Error.WriteLine($"./lab kills {arguments}");
        try
        {
            var record = await KillAllAsync($"./lab kills {arguments}", interrupt.Token);
            foreach (var finding in record.Findings)
                Console.WriteLine(finding);
            record.Write(Runs.Artifacts);
            return record.IsGood ? ExitCodes.Ok : ExitCodes.Violated;
        }
        catch (OperationCanceledException)
        {
            return ExitCodes.Interrupted;
        }
    }

    /// <param name="repeat">The command line that does the same again.</param>
    /// <param name="stop">Ends it, with the command that runs.</param>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    internal async Task<TrustRecord> KillAllAsync(string repeat, CancellationToken stop)
    {
        var watch = Stopwatch.StartNew();
        var random = new Random(Seed);
        var hits = new List<(string Verb, string Program)>();
        var leftovers = new List<string>();
        var (attempts, whole) = (0, 0);
        for (var i = 0; i < Count; i++)
        {
            var command = Commands[random.Next(Commands.Count)];
            var (what, program, left, hasTried) = await KillAsync(command, random, stop);
            attempts += command.Contains("sh", StringComparer.Ordinal) ? 1 : 0;
            whole += hasTried ? 1 : 0;
            if (program is not null)
                hits.Add((command[0], program));
            leftovers.AddRange(left.Select(l => $"{what}: {l}"));
            Console.Error.WriteLine($"{i + 1,4}  {what}{(left.Count > 0 ? $": {left.Count} left" : "")}");
        }
        var sentences = new List<string>
        {
            $"{hits.Count} signals were sent as {(Environment.IsPrivilegedProcess ? "root" : "an ordinary user")}, to processes of " +
                $"{Counts(hits.Select(h => h.Verb))} ({Counts(hits.Select(h => h.Program))}); " +
                $"{Count - hits.Count} commands had ended before.",
            $"Root of a guest tried to write to the machine in {attempts} of them, in {whole} to the end of its list.",
            $"{leftovers.Count} processes, mounts, control groups and files were left.",
        };
        sentences.AddRange(leftovers.Take(Kept));
        // Without a signal, or an attempt, nothing was tried.
        var isGood = leftovers.Count == 0 && hits.Count > 0 && (whole > 0 || attempts < EnoughAttempts);
        return new("kills", DateTimeOffset.UtcNow, Programs.Commit, "", repeat, isGood, watch.Elapsed.TotalSeconds, sentences);

        static string Counts(IEnumerable<string> words) => string.Join(", ", words.CountBy(w => w).OrderByDescending(c => c.Value)
            .ThenBy(c => c.Key, StringComparer.Ordinal).Select(c => $"{c.Key} {c.Value}"));
    }

    private async Task<(string What, string? Program, List<string> Left, bool HasTried)> KillAsync(string[] command, Random random,
        CancellationToken stop)
    {
        var signal = random.Next(10) switch { 0 => "INT", 1 => "TERM", _ => "KILL" };
        var moment = LatestMoment * random.NextDouble();
        var (pickProgram, pickProcess) = (random.NextDouble(), random.NextDouble());
        var before = Read();
        var said = new StringBuilder();
        // 'up' reads a shell's commands: nobody types any for a while.
        using var input = new CancellationTokenSource();
        var running = Cli.Wrap("env").WithArguments(["--default-signal=INT,QUIT", .. Launcher, .. command])
            .WithStandardInputPipe(PipeSource.Create((_, ended) => WaitAsync(ended))).WithValidation(CommandResultValidation.None)
            .WithStandardOutputPipe(PipeTarget.ToStringBuilder(said)).WithWorkingDirectory(ProjectFolder.Root)
            .ExecuteAsync(CancellationToken.None, stop);
        var family = new ProcessFamily(running.ProcessId);
        ProcessStat? victim = null;
        try
        {
            for (var watch = Stopwatch.StartNew(); watch.Elapsed < moment && !running.Task.IsCompleted;)
            {
                family.Look();
                await Task.Delay(s_pause, stop);
            }
            // A kernel has many processes of one name: each name has the same chance.
            var programs = family.Alive().GroupBy(p => p.Program, StringComparer.Ordinal).ToList();
            victim = programs.Count == 0 ? null : Pick(Pick(programs, pickProgram).ToList(), pickProcess);
            if (victim is not null)
                await SendAsync(signal, victim.Id);
            await EndAsync(s_input, stop);
            await input.CancelAsync();
            await EndAsync(Limit, stop);
            if (!running.Task.IsCompleted)
            {
                await SendAsync("INT", running.ProcessId);
                await EndAsync(Limit, stop);
            }
        }
        catch (OperationCanceledException)
        {
            // The command was interrupted as well, and cleans up: nobody is left when this has ended.
            await input.CancelAsync();
            await EndAsync(Limit, CancellationToken.None);
            throw;
        }
        var happened = victim is null ? "had ended" : $"SIG{signal} to {victim.Program}";
        var what = string.Create(CultureInfo.InvariantCulture,
            $"{string.Join(' ', command)}: {happened} after {moment.TotalSeconds:0.0} s");
        return (what, victim?.Program, [.. family.Alive().Select(p => $"process {p.Id} {p.Program}"),
            .. Read().Except(before, StringComparer.Ordinal)], said.ToString().Split('\n').Contains(Tried, StringComparer.Ordinal));

        static T Pick<T>(List<T> from, double at) => from[(int)(at * from.Count)];

        async Task WaitAsync(CancellationToken ended)
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(input.Token, ended);
            await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        async Task EndAsync(TimeSpan limit, CancellationToken given)
        {
            for (var watch = Stopwatch.StartNew(); watch.Elapsed < limit && (family.Look() > 0 || !running.Task.IsCompleted);)
                await Task.Delay(s_pause, given);
        }

        async Task SendAsync(string name, int process) => await Cli.Wrap("kill")
            .WithArguments([$"-{name}", process.ToString(CultureInfo.InvariantCulture)])
            .WithValidation(CommandResultValidation.None).ExecuteAsync(stop);
    }
}
