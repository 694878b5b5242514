namespace Conformance.Reports;

/// <summary>Writes files in one step: a reader sees the old text or the new one, never half of it.</summary>
internal static class WholeFile
{
    internal static void Write(string path, string text)
    {
        File.WriteAllText(path + ".new", text);
        File.Move(path + ".new", path, overwrite: true);
    }
}
