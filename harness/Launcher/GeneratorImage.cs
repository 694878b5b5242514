using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;

namespace Conformance.Launcher;

/// <summary>
/// The generator's container image, made without an engine and a registry: the native program, the userland of iptables and ipset of
/// this machine's Debian packages, and the libraries of both. There is no shell in it.
/// </summary>
internal static class GeneratorImage
{
    private const string Name = "ipvs-generator";
    private const string LegacyProgram = "xtables-legacy-multi";
    private const string NftProgram = "xtables-nft-multi";
    private static readonly string s_manifest = Path.Combine(ProjectFolder.Root, "harness", "Generator", "Package", "daemonset.yaml");

    /// <summary>.NET loads these when it first speaks TLS; ldd does not show them.</summary>
    private static readonly string[] s_tls = ["libssl.so.3", "libcrypto.so.3"];

    /// <param name="time">What its files have.</param>
    /// <returns>The paths of the image, as <c>docker load</c> takes it, and of the manifest of a DaemonSet.</returns>
    /// <exception cref="HarnessException">A program is missing.</exception>
    internal static async Task<IReadOnlyList<string>> MakeAsync(string output, string version, DateTimeOffset time)
    {
        var image = new ImageArchive
        {
            Time = time,
            EntryPoint = [$"/usr/bin/{Name}"],
            Arguments = ["watch"],
        };
        await image.AddProgramAsync(Programs.NativeGenerator, $"/usr/bin/{Name}");
        var libraries = await LibrariesAsync();
        foreach (var library in s_tls)
            await image.AddProgramAsync(libraries.GetValueOrDefault(library, library));
        await AddIptablesAsync(image);
        await image.AddProgramAsync(Need.PathOf("ipset") ?? "/usr/sbin/ipset", "/usr/sbin/ipset");
        // iptables-legacy has its kernel modules loaded by the program that /proc/sys/kernel/modprobe names.
        await image.AddProgramAsync(Need.PathOf("kmod") ?? "/usr/bin/kmod", "/usr/bin/kmod");
        foreach (var path in new[] { "/sbin/modprobe", "/usr/sbin/modprobe" })
            image.AddLink(path, "/usr/bin/kmod");
        foreach (var folder in new[] { "/dev", "/etc", "/proc", "/run", "/sys", "/lib/modules" })
            image.AddFolder(folder);
        image.AddFolder("/tmp", isForAll: true);
        await AddLicencesAsync(image);

        var archive = Path.Combine(output, $"{Name}-{version}-image.tar");
        await image.WriteAsync(archive, $"{Name}:{version}");
        var manifest = Path.Combine(output, $"{Name}-daemonset.yaml");
        await File.WriteAllTextAsync(manifest, (await File.ReadAllTextAsync(s_manifest)).Replace("@VERSION@", version,
            StringComparison.Ordinal));
        return [archive, manifest];
    }

    /// <summary>
    /// Both variants of the programs under Debian's names, with nft's as the default, as in Debian; and the modules that they load.
    /// </summary>
    private static async Task AddIptablesAsync(ImageArchive image)
    {
        foreach (var (program, suffixes) in new[] { (LegacyProgram, new[] { "-legacy" }), (NftProgram, ["", "-nft"]) })
        {
            await image.AddProgramAsync(Need.PathOf(program) ?? $"/usr/sbin/{program}", $"/usr/sbin/{program}");
            foreach (var name in suffixes.SelectMany(s => new[] { $"iptables{s}", $"ip6tables{s}" })
                .SelectMany(n => new[] { n, $"{n}-save", $"{n}-restore" }))
                image.AddLink($"/usr/sbin/{name}", program);
        }
        var modules = Directory.GetDirectories("/usr/lib").Append("/usr/lib").Select(f => Path.Combine(f, "xtables"))
            .FirstOrDefault(Directory.Exists) ?? "/usr/lib/xtables";
        // Those of ebtables and arptables have no place in it.
        foreach (var module in Directory.Exists(modules)
            ? Directory.GetFiles(modules, "lib*t_*.so").Where(m => !Path.GetFileName(m).StartsWith("libebt", StringComparison.Ordinal)
                && !Path.GetFileName(m).StartsWith("libarpt", StringComparison.Ordinal))
            : [$"{modules}/libxt_set.so"])
            await image.AddProgramAsync(module);
    }

    /// <summary>
    /// The libraries of this machine by their names; two of a name are two architectures, and the first is this machine's.
    /// </summary>
    private static async Task<Dictionary<string, string>> LibrariesAsync()
    {
        var cache = await CliWrap.Cli.Wrap("/sbin/ldconfig").WithArguments("-p").WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync();
        return cache.StandardOutput.Split('\n').Select(l => l.Split("=>", StringSplitOptions.TrimEntries)).Where(f => f.Length == 2)
            .DistinctBy(f => f[0].Split(' ')[0], StringComparer.Ordinal)
            .ToDictionary(f => f[0].Split(' ')[0], f => f[1], StringComparer.Ordinal);
    }

    /// <summary>The licence of this project, and those of the Debian packages that the other files come from.</summary>
    private static async Task AddLicencesAsync(ImageArchive image)
    {
        image.AddFile(Path.Combine(ProjectFolder.Root, "LICENSE"), $"/usr/share/doc/{Name}/copyright");
        // A library may be listed with or without /usr, which is one folder.
        var files = image.Sources.Where(s => s.StartsWith('/') && !s.StartsWith(ProjectFolder.Root, StringComparison.Ordinal))
            .SelectMany(s => new[] { s, s.StartsWith("/usr/", StringComparison.Ordinal) ? s["/usr".Length..] : $"/usr{s}" });
        var owners = await CliWrap.Cli.Wrap("dpkg-query").WithArguments(["--search", .. files])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync();
        foreach (var package in owners.StandardOutput.Split('\n').Where(l => l.Contains(": /", StringComparison.Ordinal))
            .Select(l => l.Split(':')[0]).Distinct(StringComparer.Ordinal))
        {
            var copyright = $"/usr/share/doc/{package}/copyright";
            if (File.Exists(copyright))
                image.AddFile(copyright, copyright);
        }
    }
}
