using Conformance.Labs;

namespace Conformance.Launcher;

/// <summary>The folders of runs below <c>artifacts/</c>: makes them, and clears away old ones.</summary>
internal static class Runs
{
    /// <summary>Marks a run that is not cleared away.</summary>
    internal const string KeepMarker = "keep";

    private const int Kept = 10;

    /// <summary>Where they are.</summary>
    internal static string Artifacts { get; } = Path.Combine(ProjectFolder.Root, "artifacts");

    /// <summary>Makes the folder of a new run. All but the newest runs, and those marked, are deleted.</summary>
    internal static string Start(string? suffix = null)
    {
        var root = ProjectFolder.Root;
        var folder = RunFolder.Create(root, suffix);
        foreach (var old in Stored().Skip(Kept))
        {
            if (IsRunning(old) || File.Exists(Path.Combine(old, KeepMarker)))
                continue;
            try
            {
                Directory.Delete(old, recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Another run clears it away as well, or it is another user's.
            }
        }
        return folder;
    }

    /// <summary>The folders of runs, the newest first.</summary>
    internal static IEnumerable<string> Stored() => Directory.Exists(Artifacts)
        ? Directory.GetDirectories(Artifacts, "2*-*-*").OrderDescending(StringComparer.Ordinal) : [];

    /// <summary>Whether the process still runs that made the folder: its id is in the name.</summary>
    internal static bool IsRunning(string folder) => Directory.Exists($"/proc/{Path.GetFileName(folder).Split('-')[2]}");

    /// <summary>Deletes the folder of a run that leaves nothing to read.</summary>
    internal static void Forget(string folder) => Directory.Delete(folder, recursive: true);
}
