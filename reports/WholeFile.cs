namespace Conformance.Reports;

/// <summary>Writes files in one step: a reader sees the old text or the new one, never half of it.</summary>
public static class WholeFile
{
    public static void Write(string path, string text)
    {
        var hidden = $"{path}.{Guid.NewGuid():N}"; // processes of two lab kernels may write the same file
        try
        {
            File.WriteAllText(hidden, text);
            File.Move(hidden, path, overwrite: true);
        }
        catch
        {
            File.Delete(hidden); // on a full disk half of it is there
            throw;
        }
    }
}
