using System.IO.Pipes;
using CliWrap;

namespace Conformance.Launcher.LabKernels;

/// <summary>
/// Starts a command under guard.sh: when this process ends, however it ends, or the guard is disposed, the command and
/// all that it has started end as well.
/// </summary>
internal sealed class Guard : IDisposable
{
    internal static readonly string Scripts = Path.Combine(AppContext.BaseDirectory, "LabKernels");

    private readonly AnonymousPipeServerStream _alive = new(PipeDirection.Out, HandleInheritability.Inheritable);

    /// <param name="temporary">A folder that is deleted after the command; empty for none.</param>
    /// <param name="argv">Must become unshare(1) with --kill-child.</param>
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
