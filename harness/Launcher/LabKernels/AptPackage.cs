using System.Text;
using CliWrap;
using Conformance.Linux;

namespace Conformance.Launcher.LabKernels;

/// <summary>Debian packages with kernels: found by name, fetched and unpacked without being installed.</summary>
internal static class AptPackage
{
    /// <summary>The names of packages that match an extended regular expression, the newest version last.</summary>
    internal static async Task<IReadOnlyList<string>> NamesAsync(string pattern, CancellationToken cancellationToken)
    {
        if (Need.PathOf("apt-cache") is null)
            return [];
        var found = await Bash.RunAsync("apt-cache search --names-only \"$1\" | cut -d' ' -f1 | sort --version-sort", "/",
            cancellationToken, pattern);
        return found.StandardOutput.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Fetches Debian's newest stock kernel of a version for QEMU, with its modules.</summary>
    /// <exception cref="CannotRunHereException">There is none, or it cannot be fetched.</exception>
    internal static async Task<KernelImage> FetchKernelAsync(string version, CancellationToken cancellationToken)
    {
        var name = (await NamesAsync($@"^linux-image-{version.Replace(".", @"\.", StringComparison.Ordinal)}([-.+][-.+0-9a-z]*)?-amd64$",
                cancellationToken)).LastOrDefault(n => !n.Contains("-cloud-", StringComparison.Ordinal)
                    && !n.Contains("-rt-", StringComparison.Ordinal) && IsImage(n))
            ?? throw new CannotRunHereException($"There is no kernel {version} for QEMU.",
                "It is not installed, not in the cache, and apt knows no such package of linux-image-*-amd64.", "Nothing ran.",
                "./lab kernels lists what is there; apt-get update as root; or give the path of a vmlinuz.");
        Console.Error.WriteLine($"Fetching {name} ...");
        using var work = await WorkFolder.StartAsync(cancellationToken);
        var said = new StringBuilder();
        var result = await Guard.RunAsync(["bash", "-euc", "apt-get -q download \"$0\"; dpkg-deb -x ./*.deb ready; rm ./*.deb; "
            + "for v in ready/lib/modules/* ; do /sbin/depmod -b ready \"${v##*/}\"; done", name],
            process => process.WithWorkingDirectory(work.Path).WithStandardErrorPipe(PipeTarget.ToStringBuilder(said)), cancellationToken);
        var kernel = KernelStore.Unpacked(Path.Combine(work.Path, "ready"), "").FirstOrDefault();
        if (!result.IsSuccess || kernel is null)
        {
            throw new CannotRunHereException($"The package {name} could not be fetched.",
                string.Join('\n', said.ToString().Trim().Split('\n').TakeLast(3)), "Nothing ran.",
                "See that this machine reaches its package sources, and that the disk is not full.");
        }
        var folder = KernelStore.FolderOf("qemu", kernel.Version);
        await KernelStore.ReplaceAsync(Path.Combine(work.Path, "ready"), folder, cancellationToken);
        return KernelStore.Unpacked(folder, "unpacked in the cache").First();
    }

    /// <summary>
    /// Whether a name is that of a kernel, and not of the package that depends on the newest: its release has a build number.
    /// </summary>
    private static bool IsImage(string name) => name["linux-image-".Length..^"-amd64".Length].Count(c => c == '.') >= 2;
}
