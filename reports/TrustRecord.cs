using System.Text.Json;

namespace Conformance.Reports;

/// <summary>What one of the jobs has shown that say whether a green run can be believed: <c>trust.json</c> in the job's folder.</summary>
/// <param name="Job">The verb of the job, such as <c>soak</c>.</param>
/// <param name="Date">When it ended (UTC).</param>
/// <param name="Commit">The commit of the project that was built.</param>
/// <param name="Kernel">The lab kernel; empty for a job that needs none.</param>
/// <param name="Command">The command line that repeats it, with its seed where it has one.</param>
/// <param name="IsGood">Whether all was as it must be.</param>
/// <param name="Seconds">From start to end.</param>
/// <param name="Findings">Sentences, with figures.</param>
public sealed record TrustRecord(string Job, DateTimeOffset Date, string Commit, string Kernel, string Command, bool IsGood, double Seconds,
    IReadOnlyList<string> Findings)
{
    /// <summary>The file of a job's folder.</summary>
    public const string FileName = "trust.json";

    /// <summary>The newest record of each job below a folder of runs, in the order of the jobs' names.</summary>
    /// <remarks>A damaged file is none: the job has to be run again.</remarks>
    public static IReadOnlyList<TrustRecord> Newest(string artifacts) => !Directory.Exists(artifacts) ? []
        : [.. Directory.GetDirectories(artifacts).Select(d => TryRead(Path.Combine(d, FileName))).OfType<TrustRecord>()
            .GroupBy(r => r.Job, StringComparer.Ordinal).Select(g => g.MaxBy(r => r.Date)!).OrderBy(r => r.Job, StringComparer.Ordinal)];

    /// <summary>Writes the file into the job's folder.</summary>
    public void Write(string folder) =>
        WholeFile.Write(Path.Combine(folder, FileName), RecordJson.Write(this) + '\n');

    private static TrustRecord? TryRead(string file)
    {
        try
        {
            return File.Exists(file) ? RecordJson.Read<TrustRecord>(File.ReadAllText(file)) : null;
        }
        catch (Exception e) when (e is JsonException or IOException)
        {
            return null;
        }
    }
}
