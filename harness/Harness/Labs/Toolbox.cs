using CliWrap;
using CliWrap.Buffered;
using Conformance.Kernel;

namespace Conformance.Harness.Labs;

/// <summary>
/// The environment of commands in nodes. Debian has two programs behind the name iptables, and a kernel may support
/// only one of them: where the default one does not work on this kernel, a folder with links to the other comes
/// first in PATH.
/// </summary>
public static class Toolbox
{
    private const string SystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private static readonly string[] s_names =
        ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

    private static readonly Lazy<Task<Dictionary<string, string?>>> s_environment = new(async () => new(StringComparer.Ordinal)
    {
        ["PATH"] = await DefaultIptablesWorksAsync() ? SystemPath : $"{LinksTo("legacy")}:{SystemPath}",
        ["LC_ALL"] = "C.UTF-8",
    });

    /// <summary>The variables; there once a lab has been started.</summary>
    public static IReadOnlyDictionary<string, string?> Environment => s_environment.Value.Result;

    /// <summary>Finds out what works here, once for each process.</summary>
    internal static Task PrepareAsync() => s_environment.Value;

    private static async Task<bool> DefaultIptablesWorksAsync()
    {
        using var probe = NetworkNamespace.Create("iptables-probe");
        try
        {
            // Only listing would not do: iptables-nft lists an empty table on kernels where it cannot add a rule.
            using var limit = new CancellationTokenSource(Timeouts.Command);
            var result = await Cli.Wrap("nsenter").WithArguments([$"--net={probe.Path}", "--", "iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "RETURN"])
                .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(limit.Token);
            return result.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return true; // nsenter is missing: the first command will say so
        }
    }

    private static string LinksTo(string variant)
    {
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "bin")).FullName;
        foreach (var name in s_names)
        {
            var link = Path.Combine(folder, name);
            var dash = name.IndexOf('-', StringComparison.Ordinal);
            var target = dash < 0 ? $"/usr/sbin/{name}-{variant}" : $"/usr/sbin/{name[..dash]}-{variant}{name[dash..]}";
            if (!File.Exists(link))
                File.CreateSymbolicLink(link, target);
        }
        return folder;
    }
}
