using System.Diagnostics;
using System.Globalization;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Linux.Namespaces;

namespace Conformance.KernelTests.Soak;

/// <summary>A process in the network of a node, however it was started: proc(5).</summary>
internal sealed record NodeProcess(int Id)
{
    private const int PageBytes = 4096;

    /// <summary>The resident memory; 0 when the process has ended.</summary>
    internal long ResidentBytes => Statm(1);

    /// <summary>The address space; 0 when the process has ended.</summary>
    internal long VirtualBytes => Statm(0);

    /// <summary>How many files it has open.</summary>
    internal int OpenFiles => Directory.GetFileSystemEntries(string.Create(CultureInfo.InvariantCulture, $"/proc/{Id}/fd")).Length;

    /// <summary>All processes whose network namespace has this number.</summary>
    internal static IEnumerable<NodeProcess> In(ulong inode) => Directory.GetDirectories("/proc")
        .Select(d => int.TryParse(Path.GetFileName(d), CultureInfo.InvariantCulture, out var id) ? id : 0)
        .Where(id => id > 0 && NamespaceOf(id) == $"net:[{inode}]").Select(id => new NodeProcess(id));

    /// <summary>The soft limit of a resource, as prlimit(1) writes it; <c>unlimited</c> for one of a process that has ended.</summary>
    internal string Limit(string resource) => Run("prlimit", "--pid", Number, $"--{resource}", "--output", "SOFT", "--noheadings",
        "--raw") is { Length: > 0 } limit ? limit : "unlimited";

    /// <summary>Sets the soft limit, which the process may not raise by itself if it does not know of it.</summary>
    internal void SetLimit(string resource, string value) => Run("prlimit", "--pid", Number, $"--{resource}={value}:");

    /// <summary>Sends a signal such as STOP; nothing happens when the process has ended.</summary>
    internal void Signal(string name) => Run("kill", $"-{name}", Number);

    private string Number => Id.ToString(CultureInfo.InvariantCulture);

    private long Statm(int field)
    {
        try
        {
            return long.Parse(File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{Id}/statm")).Split(' ')[field],
                CultureInfo.InvariantCulture) * PageBytes;
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private static string? NamespaceOf(int id)
    {
        try
        {
            return new FileInfo(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/ns/net")).LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // it has ended, or is a thread of the kernel
        }
    }

    private static string Run(string program, params string[] arguments) => Cli.Wrap(program).WithArguments(arguments)
        .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync().GetAwaiter().GetResult().StandardOutput.Trim();
}
