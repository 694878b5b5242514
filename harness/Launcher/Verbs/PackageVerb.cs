using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Linux;

namespace Conformance.Launcher.Verbs;

/// <summary>
/// <c>./lab package</c>: the generator for machines without .NET, as an archive and as a Debian package. The same program gives the
/// same bytes: every file has the time of the commit, or of the sources where they came as an archive.
/// </summary>
internal static partial class PackageVerb
{
    private const string Name = "ipvs-generator";

    /// <summary>Seconds since 1970 that the files of a package have (reproducible-builds.org).</summary>
    private const string TimeVariable = "SOURCE_DATE_EPOCH";

    private static readonly string s_sources = Path.Combine(ProjectFolder.Root, "harness", "Generator", "Package");

    internal static System.CommandLine.Command Create()
    {
        var output = new Option<string>("--output")
        {
            Description = "Folder of the packages.",
            DefaultValueFactory = _ => Path.Combine(ProjectFolder.Root, "artifacts", "packages"),
        };
        var image = new Option<bool>("--image")
        {
            Description = "Make a container image and the manifest of a DaemonSet instead.",
        };
        var verb = new System.CommandLine.Command("package", "Make an archive and a Debian package of the generator, or its image.")
            { output, image };
        verb.SetAction(async parsed =>
        {
            using var interrupt = new Interrupt();
            foreach (var path in await MakeAsync(Path.GetFullPath(parsed.GetValue(output)!), parsed.GetValue(image), interrupt.Token))
                Console.WriteLine(Path.GetRelativePath(Environment.CurrentDirectory, path));
            return ExitCodes.Ok;
        });
        return verb;
    }

    /// <returns>The paths of what was made.</returns>
    private static async Task<IReadOnlyList<string>> MakeAsync(string output, bool isImage, CancellationToken cancellationToken)
    {
        if (!File.Exists(Programs.NativeGenerator))
        {
            throw new CannotRunHereException("There is no native program to package.",
                $"{Programs.NativeGenerator} is not there: no C linker was found, or the native build failed.", "No package was made.",
                "./lab doctor says what is missing, and how to build it.");
        }
        if (Need.PathOf("dpkg-deb") is null)
            throw new CannotRunHereException("dpkg-deb is missing.", "It is in no folder of programs.", "No package was made.",
                "Install the package dpkg of your distribution.");
        Directory.CreateDirectory(output);
        if (isImage)
        {
            await Need.EnsureAsync(Need.ForLabs, cancellationToken); // the userland of iptables and ipset comes from this machine
            return await GeneratorImage.MakeAsync(output, Version,
                TimeOf(Environment.GetEnvironmentVariable(TimeVariable) ?? await TimeOfSourcesAsync(cancellationToken)));
        }
        var work = Directory.CreateDirectory(Path.Combine(output, $".package-{Guid.NewGuid():N}"));
        try
        {
            var time = Environment.GetEnvironmentVariable(TimeVariable) ?? await TimeOfSourcesAsync(cancellationToken);
            return [await MakeArchiveAsync(work.FullName, output, time, cancellationToken),
                await MakeDebianAsync(work.FullName, output, time, cancellationToken)];
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private static async Task<string> TimeOfSourcesAsync(CancellationToken cancellationToken)
    {
        if (Path.Exists(Path.Combine(ProjectFolder.Root, ".git"))) // a folder, or a file in a work tree
            return await RunAsync("git", ["-C", ProjectFolder.Root, "log", "-1", "--format=%ct"], cancellationToken);
        var time = new DateTimeOffset(File.GetLastWriteTimeUtc(Path.Combine(ProjectFolder.Root, "LICENSE")));
        return time.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
    }

    private static async Task<string> MakeArchiveAsync(string work, string output, string time, CancellationToken cancellationToken)
    {
        var architecture = RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "arm64" : "x64";
        var name = $"{Name}-{Version}-linux-{architecture}";
        Put(Programs.NativeGenerator, $"{work}/{name}/{Name}", executable: true);
        foreach (var file in new[] { $"{Name}.service", "config.yaml", "README.md" })
            Put(Path.Combine(s_sources, file), $"{work}/{name}/{file}");
        Put(Path.Combine(ProjectFolder.Root, "LICENSE"), $"{work}/{name}/LICENSE");
        Normalize($"{work}/{name}", time);
        var path = Path.Combine(output, $"{name}.tar.gz");
        await RunAsync("tar", ["--create", "--gzip", "--file", $"{work}/archive", "--sort=name", "--format=gnu", "--owner=0", "--group=0",
            "--numeric-owner", $"--directory", work, name], cancellationToken);
        File.Move($"{work}/archive", path, overwrite: true);
        return path;
    }

    private static async Task<string> MakeDebianAsync(string work, string output, string time, CancellationToken cancellationToken)
    {
        var root = $"{work}/debian";
        Put(Programs.NativeGenerator, $"{root}/usr/bin/{Name}", executable: true);
        Put(Path.Combine(s_sources, $"{Name}.service"), $"{root}/usr/lib/systemd/system/{Name}.service");
        Put(Path.Combine(s_sources, "config.yaml"), $"{root}/etc/{Name}/config.yaml");
        Put(Path.Combine(s_sources, "README.md"), $"{root}/usr/share/doc/{Name}/README.md");
        Put(Path.Combine(ProjectFolder.Root, "LICENSE"), $"{root}/usr/share/doc/{Name}/copyright");
        var size = Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories).Sum(f => new FileInfo(f).Length) >> 10;

        foreach (var script in new[] { "postinst", "prerm", "postrm" })
            Put(Path.Combine(s_sources, script), $"{root}/DEBIAN/{script}", executable: true);
        Put(Path.Combine(s_sources, "conffiles"), $"{root}/DEBIAN/conffiles");
        var architecture = RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "arm64" : "amd64";
        var control = await File.ReadAllTextAsync(Path.Combine(s_sources, "control"), cancellationToken);
        await File.WriteAllTextAsync($"{root}/DEBIAN/control", control.Replace("@VERSION@", Version, StringComparison.Ordinal)
            .Replace("@ARCHITECTURE@", architecture, StringComparison.Ordinal)
            .Replace("@SIZE@", size.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
            .Replace("@LIBC@", await LibcAsync(cancellationToken), StringComparison.Ordinal), cancellationToken);
        Normalize(root, time);
        var path = Path.Combine(output, $"{Name}_{Version}_{architecture}.deb");
        await RunAsync("dpkg-deb", ["--build", "--root-owner-group", "-Zxz", root, $"{work}/package.deb"], cancellationToken,
            (TimeVariable, time));
        File.Move($"{work}/package.deb", path, overwrite: true);
        return path;
    }

    private static string Version => typeof(PackageVerb).Assembly.GetName().Version!.ToString(3);

    /// <summary>The oldest glibc that has every symbol of the program; readelf comes with the linker that made it.</summary>
    private static async Task<string> LibcAsync(CancellationToken cancellationToken) =>
        GlibcSymbol().Matches(await RunAsync("readelf", ["--version-info", "--wide", Programs.NativeGenerator], cancellationToken))
            .Select(m => System.Version.Parse(m.Groups["version"].Value)).Max()!.ToString();

    [GeneratedRegex(@"GLIBC_(?<version>\d+\.\d+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex GlibcSymbol();

    private static void Put(string source, string target, bool executable = false)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        File.Copy(source, target);
        File.SetUnixFileMode(target, executable ? ImageArchive.Executable : ImageArchive.Readable);
    }

    /// <summary>Whatever the umask and the time are, everybody may enter the folders of a package, and its files have one time.</summary>
    private static void Normalize(string root, string time)
    {
        var written = TimeOf(time).UtcDateTime;
        foreach (var file in Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories))
            File.SetLastWriteTimeUtc(file, written);
        foreach (var folder in Directory.EnumerateDirectories(root, "*", SearchOption.AllDirectories).Append(root))
        {
            File.SetUnixFileMode(folder, ImageArchive.Executable);
            Directory.SetLastWriteTimeUtc(folder, written);
        }
    }

    /// <exception cref="HarnessException">It is no time of this era.</exception>
    private static DateTimeOffset TimeOf(string seconds) =>
        long.TryParse(seconds, CultureInfo.InvariantCulture, out var number) && number is >= 0 and <= 253_402_300_799
            ? DateTimeOffset.FromUnixTimeSeconds(number)
            : throw new HarnessException("The time of the files is no number of seconds.", $"It is '{seconds}'.", "No package was made.",
                $"Set {TimeVariable} to seconds since 1970.");

    /// <returns>What it printed, without the space around.</returns>
    /// <exception cref="HarnessException">It failed.</exception>
    private static async Task<string> RunAsync(string program, string[] arguments, CancellationToken cancellationToken,
        params (string Name, string? Value)[] variables)
    {
        var result = await CliWrap.Cli.Wrap(program).WithArguments(arguments).WithValidation(CommandResultValidation.None)
            .WithEnvironmentVariables(variables.ToDictionary(v => v.Name, v => v.Value, StringComparer.Ordinal))
            .ExecuteBufferedAsync(cancellationToken);
        return result.IsSuccess ? result.StandardOutput.Trim()
            : throw new HarnessException($"{program} failed.",
                $"Exit code {result.ExitCode}: {(result.StandardError + result.StandardOutput).Trim()}",
                "No package was made.",
                $"See what it says: the disk may be full. {TimeVariable}=$(date +%s) takes git's place.");
    }
}
