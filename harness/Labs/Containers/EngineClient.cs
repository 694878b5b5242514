using CliWrap;
using Conformance.Labs.Waiting;
using Docker.DotNet;

namespace Conformance.Labs;

/// <summary>
/// Asks the engine. Whatever goes wrong, and whatever its library throws, is an error that names the question, and nothing waits for ever
/// on an engine that hangs or has died.
/// </summary>
internal sealed class EngineClient(IDockerClient client, CommandTask<CommandResult> process, CappedText log)
{
    /// <summary>The process that started the engine.</summary>
    internal int ProcessId => process.ProcessId;

    /// <summary>Why the engine is gone; null while it runs.</summary>
    internal string? WhyEnded => process.Task.IsCompleted ? $"The container engine has ended: {log.Tail(5)}" : null;

    /// <param name="what">The failure in words, such as "The image was not loaded."</param>
    /// <param name="fix">What helps when the engine runs and says no.</param>
    /// <exception cref="HarnessException">It failed.</exception>
    internal async Task<T> AskAsync<T>(string what, string fix, Func<IDockerClient, CancellationToken, Task<T>> ask)
    {
        using var limit = new Patience(Timeouts.Start);
        try
        {
            // The library forgets its own token where an answer breaks off.
            return await ask(client, limit.Token).WaitAsync(limit.Token);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            var isFull = e.Message.Contains("no space left", StringComparison.OrdinalIgnoreCase);
            var evidence = WhyEnded
                ?? (e is OperationCanceledException ? $"The engine did not do it within {Timeouts.Start.TotalSeconds:0} s." : WordsOf(e));
            throw new HarnessException(what, evidence, "Nothing of it runs.",
                WhyEnded is not null ? "Read what it said; ./lab doctor starts an engine as well."
                : isFull ? "The engine keeps images in the memory of the kernel: take a smaller image." : fix);
        }
    }

    /// <inheritdoc cref="AskAsync{T}(string, string, Func{IDockerClient, CancellationToken, Task{T}})"/>
    internal Task AskAsync(string what, string fix, Func<IDockerClient, CancellationToken, Task> ask) => AskAsync(what, fix,
        async (engine, limit) =>
        {
            await ask(engine, limit);
            return true;
        });

    /// <summary>Asks for what may take as long as a container lives.</summary>
    internal Task<T> WaitAsync<T>(Func<IDockerClient, Task<T>> ask) => ask(client);

    private static string WordsOf(Exception e) => e switch
    {
        DockerApiException { ResponseBody: { Length: > 0 } body } => body.Trim(),
        { InnerException: { } inner } => $"{e.Message} {inner.Message}",
        _ => e.Message,
    };
}
