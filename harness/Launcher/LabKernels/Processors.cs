using System.Globalization;

namespace Conformance.Launcher.LabKernels;

/// <summary>Chooses the processor for a lab kernel, which uses exactly one.</summary>
internal static class Processors
{
    private const string AllowedField = "Cpus_allowed_list:";
    private static readonly List<int> s_taken = [];

    /// <summary>A processor until the kernel on it has ended.</summary>
    internal sealed class Taken(int processor) : IDisposable
    {
        internal string Number { get; } = processor.ToString(CultureInfo.InvariantCulture);

        public void Dispose()
        {
            lock (s_taken)
                s_taken.Remove(processor);
        }
    }

    /// <summary>
    /// The processor, of those that this process may use, to which the fewest lab kernels are bound: those that are seen, and those
    /// of this process, which may not be seen yet.
    /// </summary>
    internal static Taken Take()
    {
        lock (s_taken)
        {
            var processor = LeastUsed();
            s_taken.Add(processor);
            return new Taken(processor);
        }
    }

    private static int LeastUsed()
    {
        var mine = Expand(AllowedTo("self"));
        var taken = Directory.GetDirectories("/proc")
            .Select(Path.GetFileName)
            .Where(pid => char.IsAsciiDigit(pid![0]) && CommandOf(pid) is ['l', 'i', 'n', 'u', 'x', ..] or ['q', 'e', 'm', 'u', ..])
            .SelectMany(pid => Expand(AllowedTo(pid!)))
            .ToLookup(cpu => cpu);
        return mine.OrderBy(cpu => taken[cpu].Count() + s_taken.Count(t => t == cpu)).ThenByDescending(cpu => cpu).First();
    }

    /// <summary>Numbers of a list such as <c>0-3,8</c> (cpuset(7)).</summary>
    internal static IReadOnlyList<int> Expand(string list) =>
        [.. from range in list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            let ends = range.Split('-').Select(n => int.Parse(n, CultureInfo.InvariantCulture)).ToArray()
            from cpu in Enumerable.Range(ends[0], ends[^1] - ends[0] + 1)
            select cpu];

    private static string AllowedTo(string pid) =>
        Read($"/proc/{pid}/status").Split('\n').FirstOrDefault(l => l.StartsWith(AllowedField, StringComparison.Ordinal))?[
            AllowedField.Length..] ?? "";

    private static string CommandOf(string? pid) => Read($"/proc/{pid}/comm");

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return ""; // the process has ended
        }
    }
}
