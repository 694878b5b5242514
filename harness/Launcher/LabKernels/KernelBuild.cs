using System.Globalization;
using CliWrap;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Reports;

namespace Conformance.Launcher.LabKernels;

/// <summary>Builds a user-mode kernel with the project's configuration into the cache folder, without root.</summary>
internal static class KernelBuild
{
    /// <summary>Where everything is that the last build said.</summary>
    internal static string Log => Path.Combine(KernelStore.Folder, "build.log");

    private const string Kept = "Nothing of it was kept; the kernels that were there before still are.";

    /// <summary>How build-kernel.sh begins the line of an option that the configuration wants and the source has not.</summary>
    private const string Missing = "this tree does not have ";

    /// <summary>A kernel is up in a second or two.</summary>
    private static readonly TimeSpan s_checkLimit = TimeSpan.FromMinutes(2);

    /// <summary>Bytes. A failed build with less free space, and no error of its own, is reported as a full disk.</summary>
    private const long Tight = 32 << 20;

    private static string Configuration => Path.Combine(Guard.Scripts, "lab-kernel.config");

    /// <param name="source">A Debian package with a kernel's source, a source tree, or its archive; null for the newest package.</param>
    /// <param name="say">Called with each step.</param>
    /// <exception cref="CannotRunHereException">There is no such source, or a program is missing.</exception>
    /// <exception cref="HarnessException">The build failed. Nothing of it is left.</exception>
    internal static async Task<KernelImage> BuildAsync(string? source, Action<string> say, CancellationToken cancellationToken)
    {
        await Need.EnsureAsync(Need.ForKernels, cancellationToken);
        var (kind, place) = await ResolveAsync(source, cancellationToken);
        using var work = await WorkFolder.StartAsync(cancellationToken);
        var result = await Guard.RunAsync(["bash", Path.Combine(Guard.Scripts, "build-kernel.sh"), work.Path, Configuration,
            Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture), kind, place],
            process => process.WithStandardOutputPipe(PipeTarget.ToDelegate(say)), cancellationToken);
        var said = await KeepLogAsync(work, cancellationToken);
        if (!result.IsSuccess)
            throw Failed(place, result.ExitCode, said, new DriveInfo(work.Path).AvailableFreeSpace);
        var version = (await File.ReadAllTextAsync(Path.Combine(work.Path, "release"), cancellationToken)).Trim();
        var ready = Path.Combine(work.Path, "ready");
        await CheckAsync(new KernelImage("uml", version, Path.Combine(ready, "linux"), Path.Combine(ready, "lib/modules"), place), said,
            cancellationToken);
        await KernelStore.ReplaceAsync(ready, KernelStore.FolderOf("uml", version), cancellationToken);
        return KernelStore.Find("uml", version)!;
    }

    /// <summary>Boots the kernel before it takes the place of one that works.</summary>
    /// <exception cref="HarnessException">It does not boot, or has no IPVS.</exception>
    private static async Task CheckAsync(KernelImage built, string[] said, CancellationToken cancellationToken)
    {
        var folder = Runs.Start();
        string why;
        try
        {
            var result = await built.ToLabKernel().RunAsync(new LabCommand(["true"], folder) { Limit = s_checkLimit }, cancellationToken);
            if (result.ExitCode == ExitCodes.Ok)
            {
                Runs.Forget(folder);
                return;
            }
            why = $"The program true ended with exit code {result.ExitCode} in it.";
        }
        catch (LabKernelException e)
        {
            why = e.Evidence;
        }
        var missing = string.Join(", ", said.Where(l => l.StartsWith(Missing, StringComparison.Ordinal))
            .Select(l => l[Missing.Length..]));
        throw new HarnessException($"The kernel that was built from {built.Origin} cannot run labs.",
            why + (missing.Length > 0 ? $" The source has no {missing}." : ""), Kept,
            $"See {Log} and {folder}; build another source. IPVS is in net/netfilter/ipvs.");
    }

    /// <summary>Keeps what a build said, for people.</summary>
    /// <returns>Its lines: another build may end at the same time, and write the same file.</returns>
    private static async Task<string[]> KeepLogAsync(WorkFolder work, CancellationToken cancellationToken)
    {
        var log = Path.Combine(work.Path, "build.log");
        if (!File.Exists(log))
            return [];
        var lines = await File.ReadAllLinesAsync(log, cancellationToken);
        File.Move(log, Log, overwrite: true);
        return lines;
    }

    private static async Task<(string Kind, string Place)> ResolveAsync(string? source, CancellationToken cancellationToken)
    {
        if (source is null)
            return ("package", await NewestSourceAsync(cancellationToken));
        var path = Path.GetFullPath(source);
        if (Directory.Exists(path))
            return ("folder", path);
        if (File.Exists(path))
            return (Path.GetExtension(path) == ".deb" ? "deb" : "archive", path);
        if (source.Contains('/', StringComparison.Ordinal) || (await AptPackage.NamesAsync($"^{source}$", cancellationToken)).Count == 0)
        {
            throw new CannotRunHereException($"There is no kernel source '{source}'.",
                "It is no folder, no file, and no package that apt knows.", "No kernel was built.",
                "Give a source tree, its archive, or a package such as linux-source-6.12 (apt-cache search linux-source).");
        }
        return ("package", source);
    }

    private static async Task<string> NewestSourceAsync(CancellationToken cancellationToken) =>
        await AptPackage.NamesAsync("^linux-source-[0-9.]+$", cancellationToken) is [.., var newest] ? newest
            : throw new CannotRunHereException("No kernel source can be had.", "apt knows no package linux-source-VERSION.",
                "No kernel was built.", "apt-get update as root, or give --source a source tree or its archive.");

    /// <param name="free">Bytes that are free on the disk. On a full one the log may lack its end, and a linker deletes its file.</param>
    private static HarnessException Failed(string place, int exitCode, string[] said, long free)
    {
        var why = said.FirstOrDefault(l => l.Contains("No space left on device", StringComparison.Ordinal))
            ?? said.FirstOrDefault(l => l.StartsWith("*** ", StringComparison.Ordinal)) // the kernel's own makefiles
            ?? said.FirstOrDefault(l => l.Contains("error:", StringComparison.OrdinalIgnoreCase)
                || new[] { "E: ", "tar: " }.Any(w => l.StartsWith(w, StringComparison.Ordinal)))
            ?? (free < Tight ? $"{free} bytes are free on the disk of {KernelStore.Folder}." : null)
            ?? said.FirstOrDefault(l => l.StartsWith("make: *** ", StringComparison.Ordinal))
            ?? said.LastOrDefault(l => l.Length > 0) ?? $"It ended with exit code {exitCode} and said nothing.";
        return new HarnessException($"The kernel could not be built from {place}.", why.Trim(), Kept,
            $"See {Log}. A kernel takes 3 GB of the disk of {KernelStore.Folder} while it is built.");
    }
}
