using CliWrap;
using CliWrap.Buffered;
using Conformance.Linux.Features;

namespace Conformance.Launcher;

/// <summary>This machine lacks something that we cannot or may not supply: exit code 3.</summary>
public sealed class CannotRunHereException(string what, string evidence, string consequence, string fix)
    : Exception($"{what}\n  evidence: {evidence}\n  consequence: {consequence}\n  fix: {fix}");

/// <summary>A program that is needed, the Debian package that has it, and what for.</summary>
internal sealed record Need(string Program, string Package, string Why)
{
    private static readonly string[] s_folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

    internal static readonly IReadOnlyList<Need> ForLabs =
    [
        new("ip", "iproute2", "sets addresses and routes with the article's commands"),
        new("route", "net-tools", "sets the client's route with the article's command"),
        new("ipvsadm", "ipvsadm", "sets virtual servers"),
        new("ipset", "ipset", "makes sets of addresses"),
        new("iptables", "iptables", "sets rules"),
        new("conntrack", "conntrack", "lists connections and their events"),
        new("modprobe", "kmod", "loads kernel modules"),
        new("sysctl", "procps", "sets kernel parameters with the article's command"),
        new("nsenter", "util-linux", "starts commands in nodes"),
        new("nginx", "nginx-light", "serves in the article's own flows"),
        new("dnsmasq", "dnsmasq-base", "is the cluster's DNS server"),
        new("nslookup", "bind9-dnsutils", "asks it with the article's command"),
        new("tcpdump", "tcpdump", "judges our captures in the tests"),
        new("curl", "curl", "asks in the article's own flows"),
    ];

    internal static readonly IReadOnlyList<Need> ForUml =
    [
        new("linux.uml", "user-mode-linux", "is the lab kernel where this one has no IPVS"),
        new("perl", "perl-base", "is the lab kernel's first process"),
        new("setpriv", "util-linux", "binds the lab kernel's life to ours"),
    ];

    internal static readonly IReadOnlyList<Need> ForTests =
    [
        new("shellcheck", "shellcheck", "judges our scripts in the tests"),
        new("vagrant", "vagrant", "judges the Vagrantfile in the tests"),
    ];

    internal bool IsMet => PathOf(Program) is not null;

    internal static string? PathOf(string program) => s_folders.Select(f => Path.Combine(f, program)).FirstOrDefault(File.Exists);

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
            throw new CannotRunHereException("Programs are missing.", list, "The lab cannot run.",
                "Install what provides them; Debian's packages are named above.");
        if (!KernelFeatures.Current.IsRoot)
            throw new CannotRunHereException("Packages are missing.", list, "The lab cannot run.", $"sudo sh -c '{command}'");

        Console.Error.WriteLine($"Installing {list} ...");
        var log = await AptAsync(["update"], cancellationToken);
        if (log is null)
            log = await AptAsync(["install", "--yes", "--no-install-recommends", .. packages], cancellationToken);
        if (log is not null || missing.Any(n => !n.IsMet))
        {
            throw new CannotRunHereException("apt-get could not install the packages.", (log ?? "they lack the programs").Trim(),
                "The lab cannot run.",
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
