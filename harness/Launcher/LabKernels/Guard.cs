using System.IO.Pipes;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Linux.Features;

namespace Conformance.Launcher.LabKernels;

/// <summary>
/// Starts a command under guard.sh: when this process ends, however it ends, or the guard is disposed, the command and
/// all that it has started end as well.
/// </summary>
internal sealed class Guard : IDisposable
{
    internal static readonly string Scripts = Path.Combine(AppContext.BaseDirectory, "LabKernels");

    private readonly AnonymousPipeServerStream _alive = new(PipeDirection.Out, HandleInheritability.Inheritable);

    /// <summary>
    /// Runs a command whose processes all stay in its process group; cancelling ends them. Where this user gets a PID namespace, they end
    /// even when guard.sh is killed with all that it has started.
    /// </summary>
    internal static async Task<CommandResult> RunAsync(IEnumerable<string> argv, Func<Command, Command> configure,
        CancellationToken cancellationToken)
    {
        using var guard = new Guard();
        await using var interrupt = cancellationToken.Register(guard.Dispose);
        var result = await guard.Start(temporary: "", [.. await NamespaceAsync(cancellationToken), .. argv],
            process => configure(process).WithValidation(CommandResultValidation.None));
        cancellationToken.ThrowIfCancellationRequested();
        return result;
    }

    /// <summary>The command that puts another into a PID namespace; empty where this user gets none.</summary>
    private static async Task<string[]> NamespaceAsync(CancellationToken cancellationToken)
    {
        string[] user = KernelFeatures.Current.IsRoot ? [] : ["--user", "--map-current-user"];
        string[] unshare = ["unshare", .. user, "--pid", "--fork", "--kill-child", "--"];
        var result = await CliWrap.Cli.Wrap(unshare[0]).WithArguments([.. unshare[1..], "true"])
            .WithValidation(CommandResultValidation.None).ExecuteBufferedAsync(cancellationToken);
        return result.IsSuccess ? unshare : [];
    }

    /// <param name="temporary">A folder that is deleted after the command; empty for none.</param>
    /// <param name="argv">Becomes unshare(1) with --kill-child where its processes may leave its process group.</param>
    /// <param name="configure">Streams, variables and folder of the command.</param>
    internal CommandTask<CommandResult> Start(string temporary, IEnumerable<string> argv, Func<Command, Command> configure)
    {
        // A session of its own: Ctrl-C at the terminal is the launcher's to handle.
        var task = configure(CliWrap.Cli.Wrap("setsid")
            .WithArguments(["bash", Path.Combine(Scripts, "guard.sh"), _alive.GetClientHandleAsString(), temporary, .. argv]))
            .ExecuteAsync(CancellationToken.None);
        _alive.DisposeLocalCopyOfClientHandle();
        return task;
    }

    public void Dispose() => _alive.Dispose();
}
