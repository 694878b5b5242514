using System.Diagnostics;

namespace Conformance.Launcher.Labs;

/// <summary>A process that has our terminal: shells, and commands whose output is the person's.</summary>
internal static class ForegroundProcess
{
    internal static async Task<int> RunAsync(IReadOnlyList<string> argv, IReadOnlyDictionary<string, string?>? variables = null)
    {
        var info = new ProcessStartInfo(argv[0], argv.Skip(1)) { UseShellExecute = false };
        foreach (var (key, value) in variables ?? new Dictionary<string, string?>(StringComparer.Ordinal))
            info.Environment[key] = value;
        using var process = new Process { StartInfo = info };
#pragma warning disable RS0030 // CliWrap always redirects; here the streams are inherited
        process.Start();
#pragma warning restore RS0030
        await process.WaitForExitAsync();
        return process.ExitCode;
    }
}
