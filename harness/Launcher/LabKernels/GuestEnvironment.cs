using Conformance.Linux;

namespace Conformance.Launcher.LabKernels;

/// <summary>
/// The environment variables of this process that a command in a guest needs. No other enters it, since it may hold a secret.
/// </summary>
internal static class GuestEnvironment
{
    private static readonly string[] s_names = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ",
        "PWD"];
    private static readonly string[] s_prefixes = ["LC_", "CONFORMANCE_", "DOTNET_", "ALLURE_", "VSTEST_"];

    internal static Dictionary<string, string> Read() => Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>()
        .Select(v => (Name: (string)v.Key, Value: (string)(v.Value ?? "")))
        .Where(v => s_names.Contains(v.Name, StringComparer.Ordinal) || s_prefixes.Any(p => v.Name.StartsWith(p, StringComparison.Ordinal)))
        .ToDictionary(v => v.Name, v => v.Value, StringComparer.Ordinal);
}
