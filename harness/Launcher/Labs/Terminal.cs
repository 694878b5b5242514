using System.Globalization;
using CliWrap;
using CliWrap.Buffered;

namespace Conformance.Launcher.Labs;

/// <summary>Our terminal in raw mode while a guest's terminal is shown on it; every key goes to the guest.</summary>
internal sealed class Terminal : IAsyncDisposable
{
    private readonly string _saved;

    private Terminal(string saved) => _saved = saved;

    internal static bool IsThere => !Console.IsInputRedirected && !Console.IsOutputRedirected;

    internal static async Task<Terminal> EnterRawModeAsync()
    {
        var saved = (await SttyAsync("-g")).Trim();
        await SttyAsync("raw", "-echo");
        return new Terminal(saved);
    }

    public async ValueTask DisposeAsync() => await SttyAsync(_saved);

    /// <summary>stty(1) sets the terminal that is its standard input; ours is not redirected, so it is named.</summary>
    private static async Task<string> SttyAsync(params string[] arguments) =>
        (await CliWrap.Cli.Wrap("stty")
            .WithArguments(["-F", string.Create(CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/fd/0"), .. arguments])
            .ExecuteBufferedAsync()).StandardOutput;
}
