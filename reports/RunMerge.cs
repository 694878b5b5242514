namespace Conformance.Reports;

/// <summary>Joins the shards of one run, which several machines have run, into one run.</summary>
public static class RunMerge
{
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

        var claims = shards.SelectMany(s => s.Claims).GroupBy(c => c.Id, StringComparer.Ordinal)
            .OrderBy(g => g.First().Chapter.Number).ThenBy(g => g.Key.Length).ThenBy(g => g.Key, StringComparer.Ordinal).ToList();
        foreach (var claim in claims)
        {
            var tests = claim.SelectMany(c => c.Tests).ToList();
            (tests.Count == 0 ? claim.First() : claim.First().With(tests)).Write(folder);
        }
        var withProxy = shards.FirstOrDefault(s => s.Run.Implementation is not null) ?? shards[0];
        (withProxy.Run with
        {
            Run = Path.GetFileName(folder),
            StartedAt = shards.Min(s => s.Run.StartedAt),
            Kernel = kernels.FirstOrDefault(),
            DurationMs = shards.Max(s => s.Run.DurationMs),
            Command = null,
            Claims = shards.All(s => s.Run.Claims is not null) ? [.. claims.Select(c => c.Key)] : null,
        }).Write(folder);
        foreach (var (shard, name) in shards.SelectMany(s => s_folders.Select(n => (s.Folder, n))))
            Copy(Path.Combine(shard, name), Path.Combine(folder, name));
    }

    private static void Copy(string from, string to)
    {
        if (!Directory.Exists(from))
            return;
        foreach (var file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy, overwrite: true);
        }
    }
}
