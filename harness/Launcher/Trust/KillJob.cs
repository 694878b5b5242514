using System.Diagnostics;
using System.Globalization;
using CliWrap;
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
    private const int LatestMilliseconds = 7000;
    private const int Kept = 10;

    /// <summary>What was not hit may go on for so long. Then the command is interrupted as by Ctrl-C, and has so long again.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(40);

    /// <summary>Then standard input ends, at which the shell of <c>up</c> ends by itself.</summary>
    private static readonly TimeSpan s_input = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    /// <summary>Folders in which programs put what they should take away again.</summary>
    private static readonly string[] s_folders = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/run/netns", "/run/lock"];

    private static readonly string[][] s_commands =
    [
        ["run", "--filter", "SNAT-1"], ["run", "--filter", "K-6", "--kernels", "2"], ["kernel", "--", "sleep", "3"],
        ["soak", "--minutes", "0.05"], ["up", "article-nat"],
    ];

    /// <summary>Runs it, prints what was left, and keeps that for the report.</summary>
    internal async Task<int> RunAsync()
    {
        using var interrupt = new Interrupt();
        var watch = Stopwatch.StartNew();
        var arguments = string.Create(CultureInfo.InvariantCulture, $"--count {Count} --seed {Seed}");
        Console.Error.WriteLine($"./lab kills {arguments}");
        var random = new Random(Seed);
        var hit = new Dictionary<string, int>(StringComparer.Ordinal);
        var leftovers = new List<string>();
        for (var i = 0; i < Count; i++)
        {
            try
            {
                var (what, program, left) = await KillAsync(random, interrupt.Token);
                if (program is not null)
                    hit[program] = hit.GetValueOrDefault(program) + 1;
                leftovers.AddRange(left.Select(l => $"{what}: {l}"));
                Console.Error.WriteLine($"{i + 1,4}  {what}");
            }
            catch (OperationCanceledException)
            {
                return ExitCodes.Interrupted;
            }
        }
        var sent = hit.Values.Sum();
        var sentences = new List<string>
        {
            $"{sent} signals were sent as {(Environment.IsPrivilegedProcess ? "root" : "an ordinary user")}, to " +
                $"{string.Join(", ", hit.OrderByDescending(h => h.Value).Select(h => $"{h.Key} {h.Value}"))}; " +
                $"{Count - sent} commands had ended before.",
            $"{leftovers.Count} processes, mounts, control groups and files were left.",
        };
        sentences.AddRange(leftovers.Take(Kept));
        sentences.ForEach(Console.WriteLine);
        var isGood = leftovers.Count == 0 && sent > 0; // without a signal nothing was tried
        new TrustRecord("kills", DateTimeOffset.UtcNow, Programs.Commit, "", $"./lab kills {arguments}", isGood,
            watch.Elapsed.TotalSeconds, sentences).Write(Runs.Artifacts);
        return isGood ? ExitCodes.Ok : ExitCodes.Violated;
    }

    private static async Task<(string What, string? Program, List<string> Left)> KillAsync(Random random, CancellationToken stop)
    {
        var command = s_commands[random.Next(s_commands.Length)];
        var signal = random.Next(10) switch { 0 => "INT", 1 => "TERM", _ => "KILL" };
        var moment = TimeSpan.FromMilliseconds(random.Next(LatestMilliseconds));
        var pick = random.NextDouble();
        var before = Things();
        // 'up' reads a shell's commands: nobody types any for a while.
        using var input = new CancellationTokenSource();
        var running = Cli.Wrap("env").WithArguments(["--default-signal=INT,QUIT", Programs.Dotnet, Programs.Cli, .. command])
            .WithStandardInputPipe(PipeSource.Create((_, ended) => WaitAsync(ended))).WithValidation(CommandResultValidation.None)
            .ExecuteAsync(CancellationToken.None, stop);
        var family = new ProcessFamily(running.ProcessId);
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < moment && !running.Task.IsCompleted;)
        {
            family.Look();
            await Task.Delay(s_pause, stop);
        }
        var alive = family.Alive();
        if (alive.Count == 0)
            return ($"{string.Join(' ', command)} had ended", null, []);
        var victim = alive[(int)(pick * alive.Count)];
        await SendAsync(signal, victim.Id);
        await EndAsync(s_input);
        await input.CancelAsync();
        await EndAsync(s_limit);
        if (!running.Task.IsCompleted)
        {
            await SendAsync("INT", running.ProcessId);
            await EndAsync(s_limit);
        }
        var what = string.Create(CultureInfo.InvariantCulture,
            $"{string.Join(' ', command)}: SIG{signal} to {victim.Program} after {moment.TotalSeconds:0.0} s");
        return (what, victim.Program, [.. family.Alive().Select(p => $"process {p.Id} {p.Program}"),
            .. Things().Except(before, StringComparer.Ordinal)]);

        async Task WaitAsync(CancellationToken ended)
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(input.Token, ended);
            await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        async Task EndAsync(TimeSpan limit)
        {
            for (var watch = Stopwatch.StartNew(); watch.Elapsed < limit && (family.Look() > 0 || !running.Task.IsCompleted);)
                await Task.Delay(s_pause, stop);
        }

        async Task SendAsync(string name, int process) => await Cli.Wrap("kill")
            .WithArguments([$"-{name}", process.ToString(CultureInfo.InvariantCulture)])
            .WithValidation(CommandResultValidation.None).ExecuteAsync(stop);
    }

    /// <summary>Mounts, control groups, and files where programs leave some.</summary>
    private static HashSet<string> Things() => File.ReadLines("/proc/self/mountinfo").Select(l => $"mount {l.Split(' ')[4]}")
        .Concat(Directory.Exists("/sys/fs/cgroup")
            ? Directory.EnumerateDirectories("/sys/fs/cgroup", "*", Deep).Select(d => $"control group {d}") : [])
        .Concat(s_folders.Where(Directory.Exists).SelectMany(Directory.EnumerateFileSystemEntries).Select(f => $"file {f}"))
        .ToHashSet(StringComparer.Ordinal);

    private static EnumerationOptions Deep { get; } = new() { RecurseSubdirectories = true, IgnoreInaccessible = true };
}
