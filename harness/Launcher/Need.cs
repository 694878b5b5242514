using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;

namespace Conformance.Launcher;

/// <summary>This machine lacks something that we cannot or may not supply: exit code 3.</summary>
public sealed class CannotRunHereException(string what, string evidence, string consequence, string fix)
    : FourPartException(what, evidence, consequence, fix);

/// <summary>A program that is needed, the Debian package that has it, and what for.</summary>
internal sealed record Need(string Program, string Package, string Why)
{
    private static readonly string[] s_folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

    internal static IReadOnlyList<Need> ForLabs => Read("labs");

    internal static IReadOnlyList<Need> ForUml => Read("uml");

    internal static IReadOnlyList<Need> ForQemu => Read("qemu");

    internal static IReadOnlyList<Need> ForKernels => Read("kernels");

    internal static IReadOnlyList<Need> ForContainers => Read("containers");

    internal static IReadOnlyList<Need> ForTests => Read("tests");

    internal bool IsMet => PathOf(Program) is not null;

    internal static string? PathOf(string program) => s_folders.Select(f => Path.Combine(f, program)).FirstOrDefault(File.Exists);

    /// <summary>The rows of <c>harness/packages.tsv</c> for one purpose.</summary>
    /// <exception cref="CannotRunHereException">The file is not there.</exception>
    private static IReadOnlyList<Need> Read(string neededBy)
    {
        var path = Path.Combine(ProjectFolder.Root, "harness", "packages.tsv");
        if (!File.Exists(path))
            throw new CannotRunHereException("The list of Debian packages is missing.", $"{path} is not there.",
                "The launcher does not know which programs a lab needs.", "Use a whole checkout of the project.");
        return [.. from line in File.ReadLines(path)
                   where !line.StartsWith('#')
                   let fields = line.Split('\t')
                   where fields.Length == 4 && fields[2] == neededBy && fields[0] != "-"
                   select new Need(fields[0], fields[1], fields[3])];
    }

    /// <summary>Installs the packages of needs that are not met, as root, or says which command does.</summary>
    /// <exception cref="CannotRunHereException">Not root, or apt failed.</exception>
    internal static async Task EnsureAsync(IEnumerable<Need> needs, CancellationToken cancellationToken)
    {
        var missing = needs.Where(n => !n.IsMet).ToList();
        if (missing.Count == 0)
            return;
        var packages = missing.Select(n => n.Package).Distinct(StringComparer.Ordinal).ToList();
        var list = string.Join(", ", missing.Select(n => $"{n.Package} ({n.Why})"));
        var command = $"apt-get update && apt-get install --no-install-recommends {string.Join(' ', packages)}";
        if (PathOf("apt-get") is null)
            throw new CannotRunHereException("Programs are missing.", list, "Nothing ran.",
                "Install what provides them; Debian's packages are named above.");
        if (!KernelFeatures.Current.IsRoot)
            throw new CannotRunHereException("Packages are missing.", list, "Nothing ran.", $"sudo sh -c '{command}'");

        Console.Error.WriteLine($"Installing {list} ...");
        var log = await AptAsync(["update"], cancellationToken);
        if (log is null)
            log = await AptAsync(["install", "--yes", "--no-install-recommends", .. packages], cancellationToken);
        if (log is not null || missing.Any(n => !n.IsMet))
        {
            throw new CannotRunHereException("apt-get could not install the packages.", (log ?? "they lack the programs").Trim(),
                "Nothing ran.",
                $"See that this machine has package sources and reaches them, then: {command}");
        }
    }

    /// <returns>Null when it went well, else what apt-get said.</returns>
    private static async Task<string?> AptAsync(string[] arguments, CancellationToken cancellationToken)
    {
        var result = await CliWrap.Cli.Wrap("apt-get")
            .WithArguments(["-q", "-o", "DPkg::Lock::Timeout=120", .. arguments])
            .WithEnvironmentVariables(new Dictionary<string, string?>(StringComparer.Ordinal)
            {
                ["DEBIAN_FRONTEND"] = "noninteractive",
                // A package with a service (nginx) must not start it on this machine.
                ["SYSTEMD_OFFLINE"] = "1",
                ["RUNLEVEL"] = "1",
            })
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(cancellationToken);
        return result.IsSuccess ? null : string.Join('\n', $"{result.StandardOutput}{result.StandardError}".Split('\n').TakeLast(6));
    }
}
