using System.Text.Json;

namespace Conformance.Reports;

/// <summary>What one of the jobs has shown that say whether a green run can be believed.</summary>
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
    /// <summary>The folder in <c>artifacts/</c> with a file for each job, which stays when old runs are cleared away.</summary>
    public const string FolderName = "trust";

    /// <summary>What each job has shown last, in the order of the jobs' names.</summary>
    /// <remarks>A damaged file is none: the job has to be run again.</remarks>
    public static IReadOnlyList<TrustRecord> Last(string artifacts)
    {
        var folder = Path.Combine(artifacts, FolderName);
        return !Directory.Exists(folder) ? []
            : [.. Directory.GetFiles(folder, "*.json").Order(StringComparer.Ordinal).Select(TryRead).OfType<TrustRecord>()];
    }

    /// <summary>Keeps what this job has shown, instead of what it showed before.</summary>
    public void Write(string artifacts)
    {
        var folder = Directory.CreateDirectory(Path.Combine(artifacts, FolderName)).FullName;
        WholeFile.Write(Path.Combine(folder, $"{Job}.json"), RecordJson.Write(this) + '\n');
    }

    private static TrustRecord? TryRead(string file)
    {
        try
        {
            return RecordJson.Read<TrustRecord>(File.ReadAllText(file));
        }
        catch (Exception e) when (e is JsonException or IOException)
        {
            return null;
        }
    }
}
