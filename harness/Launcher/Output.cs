using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Conformance.Linux;
using Conformance.Reports;
using Spectre.Console;

namespace Conformance.Launcher;

/// <summary>Prints results to stdout, and progress and diagnostics to stderr.</summary>
internal static class Output
{
    internal const string Json = "json";

    private const int WidthWhenPiped = 160;

    internal static readonly JsonSerializerOptions JsonOptions = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly Lazy<IAnsiConsole> s_console = new(() =>
    {
        var piped = System.Console.IsOutputRedirected;
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = piped ? AnsiSupport.No : AnsiSupport.Detect });
        if (piped)
            console.Profile.Width = WidthWhenPiped;
        return console;
    });

    internal static IAnsiConsole Console => s_console.Value;

    internal static Option<string> CreateOption()
    {
        var option = new Option<string>("--format") { Description = "text or json.", DefaultValueFactory = _ => "text" };
        option.AcceptOnlyFromAmong("text", Json);
        return option;
    }

    /// <summary>A verdict's word in its colour, as markup of Spectre.Console.</summary>
    internal static string Coloured(Verdict verdict)
    {
        var colour = verdict switch
        {
            Verdict.Holds => "green",
            Verdict.Violated => "red",
            Verdict.Broken => "magenta",
            _ => "yellow"
        };
        return $"[{colour}]{verdict.Word()}[/]";
    }

    internal static string Unmatched(string word) => $"The filter's word '{word}' selects no test.";
}
