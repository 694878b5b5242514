using System.Globalization;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.LabKernels;

/// <summary>
/// The kernels of this machine, and those of the project's cache folder: built by <c>./lab kernels build</c>, or fetched as a package
/// and unpacked.
/// </summary>
internal static class KernelStore
{
    private const string UmlPrefix = "uml-";
    private const string QemuPrefix = "qemu-";

    /// <summary>
    /// The cache folder (XDG Base Directory Specification). Without HOME it is the user's own by the password file: what is in it is
    /// executed, and must not come from a folder that others write to.
    /// </summary>
    internal static string Folder { get; } = Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache && Path.IsPathRooted(cache) ? cache
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home ? home
                : Path.Combine(ProjectFolder.Root, "artifacts"), ".cache"),
        "ipvs-conformance", "kernels");

    private static string Measurements => Path.Combine(Folder, "measured.tsv");

    /// <summary>User-mode kernels first, then those for QEMU; the newest of each first.</summary>
    internal static IReadOnlyList<KernelImage> All() =>
    [
        .. UserMode(),
        .. Unpacked("/", "installed").Concat(Stored(QemuPrefix).SelectMany(f => Unpacked(f, "unpacked in the cache")))
            .DistinctBy(k => k.Version, StringComparer.Ordinal).OrderByDescending(k => k.Version, Versions),
    ];

    /// <summary>Those that were built here, and Debian's.</summary>
    internal static IEnumerable<KernelImage> UserMode() => Stored(UmlPrefix)
        .Select(f => new KernelImage("uml", Release(f, UmlPrefix), Path.Combine(f, "linux"), Path.Combine(f, "lib/modules"),
            "built by ./lab kernels build"))
        .Where(k => File.Exists(k.Path)).OrderByDescending(k => k.Version, Versions).Concat(DebianUml());

    /// <summary>The kernel of a kind with this release, else the newest whose release begins with it; null when there is none.</summary>
    internal static KernelImage? Find(string kind, string version)
    {
        var kernels = All().Where(k => k.Kind == kind).ToList();
        return kernels.Find(k => k.Version == version) ?? kernels.Find(k => version.Length == 0
            || (k.Version.StartsWith(version, StringComparison.Ordinal) && !char.IsAsciiDigit(k.Version[version.Length])));
    }

    /// <summary>The fastest user-mode kernel of those that were measured; null where none was.</summary>
    internal static KernelImage? Fastest() => UserMode().Where(k => Milliseconds(k) is not null).MinBy(Milliseconds);

    /// <summary>The folder of a kernel that is built or fetched, below <see cref="Folder"/>.</summary>
    internal static string FolderOf(string kind, string version) => Path.Combine(Folder, $"{kind}-{version}");

    /// <summary>The time that <see cref="KernelProbe"/> measured; null when it has not, or the file is another since.</summary>
    internal static double? Milliseconds(KernelImage kernel) => !File.Exists(Measurements) ? null
        : File.ReadLines(Measurements).Select(l => l.Split('\t')).Where(f => f.Length == 3 && f[0] == kernel.Path && f[1] == Stamp(kernel))
            .Select(f => (double?)double.Parse(f[2], CultureInfo.InvariantCulture)).LastOrDefault();

    /// <summary>Stores a measurement; null removes that of a kernel that fails.</summary>
    internal static async Task StoreMillisecondsAsync(KernelImage kernel, double? milliseconds, CancellationToken cancellationToken)
    {
        using var alone = await LockAsync(cancellationToken);
        var others = File.Exists(Measurements)
            ? File.ReadLines(Measurements).Where(l => l.Split('\t') is [var path, ..] && path != kernel.Path && File.Exists(path)) : [];
        if (milliseconds is not null)
            others = others.Append(string.Create(CultureInfo.InvariantCulture, $"{kernel.Path}\t{Stamp(kernel)}\t{milliseconds:0}"));
        WholeFile.Write(Measurements, string.Concat(others.Select(l => l + '\n')));
    }

    /// <summary>Locks the folder, for one process at a time to change what is in it, and creates it if it is missing.</summary>
    internal static Task<FolderLock> LockAsync(CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return FolderLock.TakeAsync(Folder, () => Console.Error.WriteLine($"Waiting for another ./lab that changes {Folder} ..."),
            cancellationToken);
    }

    private static string Stamp(KernelImage kernel) =>
        new DateTimeOffset(File.GetLastWriteTimeUtc(kernel.Path)).ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);

    private static IEnumerable<KernelImage> DebianUml()
    {
        if (!File.Exists(UmlKernel.DebianBinary))
            yield break;
        var release = Directory.Exists(UmlKernel.DebianModules)
            ? Directory.GetDirectories(UmlKernel.DebianModules).Select(Path.GetFileName).Max(Versions) : null;
        yield return new KernelImage("uml", release ?? "", UmlKernel.DebianBinary, UmlKernel.DebianModules,
            "Debian's package user-mode-linux");
    }

    /// <summary>
    /// Kernels below a root that this user may read, and that have their modules beside them: 9p too, which cloud kernels lack.
    /// </summary>
    internal static IEnumerable<KernelImage> Unpacked(string root, string origin) =>
        from image in Entries(() => Directory.GetFiles(Path.Combine(root, "boot"), "vmlinuz-*"))
        where CanRead(image)
        let version = Path.GetFileName(image)["vmlinuz-".Length..]
        let modules = ModulesIn([root], version)
        where modules is not null
        select new KernelImage("qemu", version, image, modules, origin);

    /// <summary>The first folder below some roots that has the modules of a release, 9p among them; null when there is none.</summary>
    internal static string? ModulesIn(IEnumerable<string> roots, string version) => roots
        .SelectMany(r => new[] { Path.Combine(r, "lib/modules"), Path.Combine(r, "usr/lib/modules") })
        .FirstOrDefault(m => QemuKernel.Has9p(Path.Combine(m, version)));

    private static string[] Stored(string prefix) => Entries(() => Directory.GetDirectories(Folder, $"{prefix}*"));

    /// <summary>What a folder has; nothing where it is not there, or not ours to read.</summary>
    private static string[] Entries(Func<string[]> list)
    {
        try
        {
            return list();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static bool CanRead(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Puts a folder into the place of another, which stays until the new one is there.</summary>
    internal static async Task ReplaceAsync(string ready, string folder, CancellationToken cancellationToken)
    {
        using var alone = await LockAsync(cancellationToken);
        var aside = $"{ready}.old";
        if (Directory.Exists(folder))
            Directory.Move(folder, aside);
        Directory.Move(ready, folder);
        if (Directory.Exists(aside))
            Directory.Delete(aside, recursive: true);
    }

    private static string Release(string folder, string prefix) => Path.GetFileName(folder)[prefix.Length..];

    /// <summary>By the numbers in a release, so that 6.12 is newer than 6.2.</summary>
    private static IComparer<string?> Versions { get; } = Comparer<string?>.Create((a, b) =>
    {
        var (left, right) = (Numbers(a), Numbers(b));
        for (var i = 0; i < Math.Min(left.Length, right.Length); i++)
        {
            if (left[i] != right[i])
                return left[i].CompareTo(right[i]);
        }
        return left.Length.CompareTo(right.Length);
    });

    private static int[] Numbers(string? release) => [.. (release ?? "").Split('.', '-', '+', '~')
        .Select(n => int.TryParse(n, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0)];
}
