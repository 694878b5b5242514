using CliWrap.Buffered;
using Conformance.Linux.Iptables;
using Conformance.Linux.Sysctls;

namespace Conformance.Labs;

/// <summary>
/// The environment of commands in nodes. Debian has two programs behind the name iptables, and a kernel may support
/// only one of them: where the default one does not work on this kernel, a folder with links to the other comes
/// first in PATH.
/// </summary>
public static class Toolbox
{
    /// <summary>Where programs of this machine are, as PATH.</summary>
    internal const string SystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private static readonly string[] s_names =
        ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

    // not our own PATH: in the shell of a lab it has the links already
    private static readonly Lazy<IptablesVariant> s_iptables = new(() => IptablesVariant.Choose(SystemPath));

    private static readonly Lazy<Task> s_bridges = new(LoadBridgeFilterAsync);

    private static readonly Lazy<Task<Dictionary<string, string?>>> s_environment = new(async () =>
    {
        await LoadSchedulersAsync();
        var environment = new Dictionary<string, string?>(StringComparer.Ordinal)
        {
            ["PATH"] = s_iptables.Value is { Suffix.Length: > 0 } variant ? $"{LinksTo(variant.Suffix[1..])}:{SystemPath}"
                : SystemPath,
            ["LC_ALL"] = "C.UTF-8",
        };
        // A proxy may be a program of .NET too: what is set for the runner's garbage collector is not for it.
        foreach (var name in System.Environment.GetEnvironmentVariables().Keys.Cast<string>()
            .Where(n => n.StartsWith("DOTNET_GC", StringComparison.Ordinal)))
            environment[name] = null;
        return environment;
    });

    /// <summary>By env(1), which looks the program up in the PATH that it is given.</summary>
    private static readonly Lazy<Task<bool>> s_isNft = new(async () =>
        (await CliWrap.Cli.Wrap("env").WithArguments(["iptables", "--version"]).WithEnvironmentVariables(await s_environment.Value)
            .ExecuteBufferedAsync()).StandardOutput.Contains("nf_tables", StringComparison.Ordinal));

    /// <summary>The variables; there once a lab has been started.</summary>
    public static IReadOnlyDictionary<string, string?> Environment => s_environment.Value.Result;

    /// <summary>The variant of iptables that works here.</summary>
    public static IptablesVariant Iptables => s_iptables.Value;

    /// <summary>Whether the iptables of nodes keeps its rules in nftables.</summary>
    internal static Task<bool> IsNftAsync() => s_isNft.Value;

    /// <summary>Finds out what works here, once for each process, and so makes the kernel load what iptables needs.</summary>
    public static Task PrepareAsync() => s_environment.Value;

    /// <summary>Loads br_netfilter, once for each process: it is nobody's dependency, and without it bridges never meet iptables.</summary>
    /// <exception cref="HarnessException">The kernel has no br_netfilter.</exception>
    public static Task PrepareBridgesAsync() => s_bridges.Value;

    /// <summary>
    /// Loads the schedulers that keep state for each namespace, where they are modules. ipvsadm's first use of one makes the kernel load it
    /// with the lock of IPVS held (do_ip_vs_set_ctl of ip_vs_ctl.c), and the module waits until no namespace is being ended; a namespace
    /// that is being ended waits for the lock of IPVS. Linux 6.1 stood still so, until ipvsadm was killed.
    /// </summary>
    private static Task LoadSchedulersAsync() => ModprobeAsync("ip_vs_lblc", "ip_vs_lblcr");

    /// <summary>Loads modules where there are any; what is built in, or missing, is no fault here.</summary>
    public static Task ModprobeAsync(params string[] modules) => CliWrap.Cli.Wrap("modprobe").WithArguments(["-a", "-q", .. modules])
        .WithValidation(CliWrap.CommandResultValidation.None).ExecuteAsync();

    private static async Task LoadBridgeFilterAsync()
    {
        if (!Sysctl.Exists(NodeSysctls.BridgeFilters[0]))
            await ModprobeAsync("br_netfilter");
        if (!Sysctl.Exists(NodeSysctls.BridgeFilters[0]))
            throw new HarnessException("This kernel has no br_netfilter.",
                $"There is no sysctl {NodeSysctls.BridgeFilters[0]} after modprobe br_netfilter.",
                "No lab with pods on a bridge can be built.", "Take a kernel with CONFIG_BRIDGE_NETFILTER: ./lab ... --kernel uml");
    }

    private static string LinksTo(string variant)
    {
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "bin")).FullName;
        foreach (var name in s_names)
        {
            var link = Path.Combine(folder, name);
            var dash = name.IndexOf('-', StringComparison.Ordinal);
            var target = dash < 0 ? $"/usr/sbin/{name}-{variant}" : $"/usr/sbin/{name[..dash]}-{variant}{name[dash..]}";
            try
            {
                if (!File.Exists(link))
                    File.CreateSymbolicLink(link, target);
            }
            catch (IOException) when (File.Exists(link))
            {
                // the runner on another kernel of this run has made it
            }
        }
        return folder;
    }
}
