namespace Conformance.Tests;

/// <summary>The processes of this machine.</summary>
internal static class ProcessTable
{
    /// <summary>Reads a file of every process, such as <c>cmdline</c> (proc(5)). A process that ends meanwhile is left out.</summary>
    internal static List<(string Pid, string Text)> Read(string file)
    {
        var found = new List<(string, string)>();
        foreach (var process in Directory.GetDirectories("/proc").Where(d => char.IsAsciiDigit(Path.GetFileName(d)[0])))
        {
            try
            {
                found.Add((Path.GetFileName(process), File.ReadAllText(Path.Combine(process, file))));
            }
            catch (IOException)
            {
                // ended meanwhile
            }
        }
        return found;
    }
}
