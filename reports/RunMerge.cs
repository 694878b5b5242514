using System.Globalization;

namespace Conformance.Reports;

/// <summary>Joins the shards of one run, which several machines have run, into one run.</summary>
public static class RunMerge
{
    private static readonly EnumerationOptions s_withoutLinks = new()
    {
        RecurseSubdirectories = true,
        AttributesToSkip = FileAttributes.ReparsePoint // of somebody else's run, a link may lead anywhere
    };
    private static readonly string[] s_folders = ["captures", "topologies", "allure-results"];

    /// <summary>Writes the joined run into an empty folder: records, captures and drawings.</summary>
    /// <exception cref="FormatException">The runs are no shards of one run: names what differs.</exception>
    public static void Into(string folder, IReadOnlyList<RunResults> shards)
    {
        var implementations = shards.Select(s => s.Run.Implementation).OfType<ImplementationRecord>().Distinct().ToList();
        if (implementations.Count > 1)
            throw new FormatException($"They tested {string.Join(" and ", implementations.Select(i => $"{i.Name} {i.Version}".Trim()))}.");
        var kernels = shards.Select(s => s.Kernel).OfType<KernelRecord>().Distinct().ToList();
        if (kernels.Count > 1)
            throw new FormatException($"They ran on the kernels {string.Join(" and ", kernels.Select(k => $"{k.Kind} {k.Release}"))}.");
        var twin = shards.SelectMany(s => s.Claims.SelectMany(c => c.Tests.Select(t => (s.Run.Run, c.Id, t.Name))))
            .GroupBy(t => (t.Id, t.Name)).FirstOrDefault(g => g.Count() > 1);
        if (twin is not null)
            throw new FormatException($"The test {twin.Key.Name} is in {string.Join(" and ", twin.Select(t => t.Run))}.");

        Directory.CreateDirectory(folder);
        var claims = shards.SelectMany(s => s.Claims).GroupBy(c => c.Id, StringComparer.Ordinal)
            .OrderBy(g => g.First().Chapter.Number).ThenBy(g => g.Key.Length).ThenBy(g => g.Key, StringComparer.Ordinal).ToList();
        foreach (var claim in claims)
        {
            var tests = claim.SelectMany(c => c.Tests).ToList();
            var first = claim.OrderByDescending(c => c.Tests.Count).First();
            (tests.Count == 0 ? first : first.With(tests)).Write(folder);
        }
        var withProxy = shards.FirstOrDefault(s => s.Run.Implementation is not null) ?? shards[0];
        (withProxy.Run with
        {
            Run = RunRecord.NameOf(folder),
            StartedAt = shards.Min(s => s.Run.StartedAt),
            Kernel = kernels.FirstOrDefault(),
            DurationMs = shards.Max(s => s.Run.DurationMs),
            Command = null,
            Shard = null,
            Claims = [.. claims.Select(c => c.Key)],
            Facts = [.. shards.SelectMany(s => s.Run.Facts).DistinctBy(f => f.Id, StringComparer.Ordinal)
                .OrderBy(f => f.Id, StringComparer.Ordinal)],
            Faults = [.. shards.SelectMany(s => s.Faults.Select(f => $"{s.Run.Run}: {f}")), .. Missing(shards)],
        }).Write(folder);
        foreach (var (shard, name) in shards.SelectMany(s => s_folders.Select(n => (s.Folder, n))))
            Copy(Path.Combine(shard, name), Path.Combine(folder, name));
    }

    /// <summary>The shards that are not among these, by the numbers that these have.</summary>
    private static IEnumerable<string> Missing(IReadOnlyList<RunResults> shards)
    {
        var numbers = shards.Select(s => s.Run.Shard).OfType<string>().ToHashSet(StringComparer.Ordinal);
        return numbers.Select(n => n.Split('/')[^1]).Distinct(StringComparer.Ordinal)
            .SelectMany(count => Enumerable.Range(1, int.TryParse(count, CultureInfo.InvariantCulture, out var n) ? Math.Min(n, 1000) : 0)
                .Select(number => string.Create(CultureInfo.InvariantCulture, $"{number}/{count}")))
            .Where(shard => !numbers.Contains(shard)).Select(shard => $"The shard {shard} is missing.");
    }

    private static void Copy(string from, string to)
    {
        if (!Directory.Exists(from))
            return;
        foreach (var file in Directory.EnumerateFiles(from, "*", s_withoutLinks))
        {
            var copy = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy, overwrite: true);
        }
    }
}
