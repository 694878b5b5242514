using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Text;
using Conformance.Linux.Interop;

namespace Conformance.Linux;

/// <summary>
/// The last handler of a program. A fault that no other handler knows becomes a four-part error on stderr; its stack trace goes into a
/// file.
/// </summary>
/// <param name="program">The name by which the user calls the program.</param>
/// <param name="folder">Returns the folder for the file. It is called after the fault, and may fail.</param>
public sealed class CrashReport(string program, Func<string> folder)
{
    /// <summary>The exit code after such a fault: EX_SOFTWARE of sysexits.h.</summary>
    public const int ExitCode = 70;

    private const int StandardError = 2;

    /// <summary>Ends the program if the process may open too few files: the .NET runtime would abort in the middle of its work.</summary>
    /// <param name="minimum">The number of file descriptors that the program needs.</param>
    /// <param name="exitCode">The exit code for a machine that lacks something.</param>
    /// <remarks>Call it first. It uses system calls only, because the runtime can load no further assembly without a descriptor.</remarks>
    public static unsafe void RequireFileDescriptors(int minimum, int exitCode)
    {
        var limits = stackalloc ulong[2];
        if (Libc.getrlimit(Libc.RLIMIT_NOFILE, limits) != 0 || limits[1] >= (ulong)minimum)
            return;
        var text = "Too few files can be open at once.\n  evidence: the hard limit of file descriptors is " + limits[1] + ", and " + minimum
            + " are needed\n  consequence: nothing was started\n  fix: raise the limit (ulimit -Hn, LimitNOFILE= of systemd, nofile in " +
                "limits.conf)\n";
        _ = Libc.write(StandardError, Encoding.UTF8.GetBytes(text), (nuint)text.Length);
        Libc._exit(exitCode);
    }

    /// <summary>Handles the faults of all threads that have no handler of their own.</summary>
    public void HandleUnhandled() => AppDomain.CurrentDomain.UnhandledException += (_, e) =>
        Environment.Exit(Write((Exception)e.ExceptionObject));

    /// <summary>
    /// Lets a task go on by itself. A fault of it ends the program as on any other thread: what the task does would be missed by nobody.
    /// </summary>
    /// <param name="end">Cancelled when the task is no longer wanted: what it still uses may be gone, and that is no fault.</param>
    public static void LetRun(Task unattended, CancellationToken end) => _ = ReportAsync(unattended, EndProgram, end);

    /// <param name="report">Called with what made the task fail before its end.</param>
    internal static async Task ReportAsync(Task unattended, Action<Exception> report, CancellationToken end)
    {
        try
        {
            await unattended;
        }
        catch (Exception e)
        {
            if (!end.IsCancellationRequested)
                report(e);
        }
    }

    private static void EndProgram(Exception fault)
    {
        try
        {
            ExceptionHandling.RaiseAppDomainUnhandledExceptionEvent(fault);
            Say(fault.ToString()); // no handler has ended the program
        }
        finally
        {
            Environment.Exit(ExitCode); // nor if it failed by itself
        }
    }

    /// <summary>Writes the stack trace into a file and the four-part error to stderr; for a lack of memory, the error alone.</summary>
    /// <returns>The exit code for the program.</returns>
    public int Write(Exception fault)
    {
        if (fault.GetBaseException() is OutOfMemoryException)
        {
            Say($"{program} gets no more memory.\n  evidence: {OneLine(fault.Message)} It had {Environment.WorkingSet >> 20} MiB.\n" +
                $"  consequence: {program} ended with exit code {ExitCode}\n" +
                "  fix: raise its limit (MemoryMax= and LimitAS= of systemd, resources.limits of a pod, ulimit -v), and start it again");
            return ExitCode;
        }
        string details;
        try
        {
            var file = Path.Combine(Directory.CreateDirectory(folder()).FullName,
                $"{program}-crash-{DateTime.UtcNow:yyyyMMdd-HHmmss}-{Environment.ProcessId}.txt");
            File.WriteAllText(file,
                $"{program} {string.Join(' ', Environment.GetCommandLineArgs().Skip(1).Select(WithoutSecret))}\n.NET " +
                $"{Environment.Version}, {RuntimeInformation.OSDescription}\n\n{fault}\n");
            details = $"report it with the file {file}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            details = $"report it (the details could not be stored: {OneLine(e.Message)})";
        }
        Say($"{program} has a fault of its own.\n  evidence: {fault.GetType().Name}: {OneLine(fault.Message)}\n  consequence: {program} " +
            $"ended with exit code {ExitCode}\n  fix: {details}");
        return ExitCode;
    }

    /// <summary>Writes to stderr itself: while tests run, NUnit keeps what goes to <see cref="Console.Error"/> for their results.</summary>
    private static void Say(string text)
    {
        using var error = Console.OpenStandardError();
        error.Write(Encoding.UTF8.GetBytes($"{text}\n"));
    }

    /// <summary>The text in one line of at most 300 characters, without control characters.</summary>
    private static string OneLine(string text)
    {
        var line = new StringBuilder();
        foreach (var c in text.Trim())
            line.Append(char.IsControl(c) ? ' ' : c);
        return line.Length <= 300 ? line.ToString() : $"{line.ToString(0, 300)} ...";
    }

    /// <summary>A URL without the password that may stand in it.</summary>
    private static string WithoutSecret(string argument) =>
        Uri.TryCreate(argument, UriKind.Absolute, out var url) && url.UserInfo.Length > 0
            ? argument.Replace(url.UserInfo, "***", StringComparison.Ordinal) : argument;
}
