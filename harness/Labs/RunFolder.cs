namespace Conformance.Labs;

/// <summary>
/// The folder of the current run below <c>artifacts/</c>: the only place on this machine that a run writes to.
/// Whoever starts a run names it in the environment; a runner that was started by itself makes one.
/// </summary>
public static class RunFolder
{
    /// <summary>Names the run's folder to the processes of the run.</summary>
    public const string Variable = "CONFORMANCE_RUN";

    /// <summary>Names the kind of the lab kernel (host, uml) to the processes of the run.</summary>
    public const string KernelVariable = "CONFORMANCE_KERNEL";

    /// <summary>Whether this process runs on a kernel that the launcher has started for labs: its settings are ours to change.</summary>
    public static bool IsOnLabKernel => Environment.GetEnvironmentVariable(KernelVariable) is not (null or "" or "host");

    /// <summary>
    /// Names the shard of a run to its runner, as <c>1/3 2/4</c>: of three machines the first, of its four kernels the second. By it a
    /// runner knows its tests, and names the files that every shard has.
    /// </summary>
    public const string ShardVariable = "CONFORMANCE_SHARD";

    /// <summary>The file of a run with the state of a node, a line for each rule, entry and server.</summary>
    public const string NodeStateFile = "node-state.txt";

    /// <summary>Says to a runner how many random flows each state gets.</summary>
    public const string FlowsVariable = "CONFORMANCE_FLOWS";

    /// <summary>Says to a runner of how many hostile inputs it makes documents, for each layout.</summary>
    public const string InputsVariable = "CONFORMANCE_INPUTS";

    /// <summary>Says to a runner which seed its random values have.</summary>
    public const string SeedVariable = "CONFORMANCE_SEED";

    /// <summary>Says to a runner how many minutes a proxy is in hostile surroundings.</summary>
    public const string MinutesVariable = "CONFORMANCE_MINUTES";

    /// <summary>The files of a run with sentences on what its jobs have found, such as how many random flows were answered.</summary>
    public const string FindingFiles = "findings-*.txt";

    private static readonly Lazy<string> s_current = new(() =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named
            ? Directory.CreateDirectory(named).FullName
            : Create(ProjectFolder.Root));

    /// <summary>The absolute path of the folder.</summary>
    public static string Current => s_current.Value;

    /// <summary>What one of the variables above says to this runner; null where nobody asked.</summary>
    public static double? Number(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text
        ? double.Parse(text, System.Globalization.CultureInfo.InvariantCulture) : null;

    /// <summary>Keeps sentences on what a job has found.</summary>
    /// <param name="name">Which of the run's jobs.</param>
    public static void WriteFindings(string name, params IEnumerable<string> sentences) =>
        File.WriteAllLines(Path.Combine(Current, FindingFiles.Replace("*", name, StringComparison.Ordinal)), sentences);

    /// <summary>A number for a file of the run: <c>7</c>, and <c>2.7</c> in the second shard of a run on several kernels.</summary>
    public static string Numbered(int number)
    {
        var shard = Environment.GetEnvironmentVariable(ShardVariable)?.Split(' ')[^1].Split('/')[0];
        return string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"{(shard is null or "" or "1" ? "" : $"{shard}.")}{number}");
    }

    /// <summary>
    /// Makes the folder of a new run: <c>artifacts/DATE-TIME-PID</c>, with a suffix where a process has several, and a number where it
    /// starts several in one second.
    /// </summary>
    public static string Create(string root, string? suffix = null)
    {
        var name = Path.Combine(root, "artifacts",
            $"{DateTime.UtcNow:yyyyMMdd-HHmmss}-{Environment.ProcessId}{(suffix is null ? "" : $"-{suffix}")}");
        lock (s_current)
        {
            var folder = name;
            for (var number = 2; Directory.Exists(folder); number++)
                folder = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{name}-{number}");
            return Directory.CreateDirectory(folder).FullName;
        }
    }
}
