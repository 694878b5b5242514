using System.Globalization;

namespace Conformance.Launcher.Runner;

/// <summary>Shows on standard error how far a run is: one line that changes on a terminal, a line for each test elsewhere.</summary>
internal sealed class RunProgress(string title) : IDisposable
{
    private readonly bool _isTerminal = !Console.IsErrorRedirected;
    private readonly Lock _lock = new();
    private int _selected;
    private int _ended;
    private int _bad;

    /// <summary>Several runs may tell at once.</summary>
    internal void Show(RunnerEvent reported)
    {
        using var one = _lock.EnterScope();
        switch (reported.Kind)
        {
            case "start":
                _selected += reported.Count;
                break;
            case "test":
                _ended++;
                if (!reported.IsGood)
                    _bad++;
                break;
        }
        if (_isTerminal)
            Console.Error.Write($"\r\e[K{title}: {_ended} of {_selected}{(_bad > 0 ? $", {_bad} not good" : "")}");
        else if (reported.Kind == "test")
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{reported.Outcome,-7} {reported.Ms / 1000,6:0.0} s  {string.Join(' ', reported.Claims)} " +
                $"{reported.ShortName}"));
    }

    public void Dispose()
    {
        if (_isTerminal && _selected > 0)
            Console.Error.Write("\r\e[K");
        _selected = 0;
    }
}
