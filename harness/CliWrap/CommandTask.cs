using System.Runtime.CompilerServices;

namespace CliWrap;

/// <summary>A command under way: awaitable, with the process's id.</summary>
public sealed class CommandTask<TResult>(Task<TResult> task, int processId)
{
    public Task<TResult> Task { get; } = task;

    public int ProcessId { get; } = processId;

    public TaskAwaiter<TResult> GetAwaiter() => Task.GetAwaiter();

    public CommandTask<T> Select<T>(Func<TResult, T> transform)
    {
        async Task<T> Transformed() => transform(await Task);
        return new CommandTask<T>(Transformed(), ProcessId);
    }

    public static implicit operator Task<TResult>(CommandTask<TResult> commandTask) => commandTask.Task;
}
