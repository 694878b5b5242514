using System.CommandLine;
using System.Globalization;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab completion SHELL</c>: the shell's script that completes verbs, options, topologies and claims.</summary>
internal static class CompletionVerb
{
    /// <summary>The script calls this verb at every press of Tab: <c>complete POSITION LINE</c>.</summary>
    private const string Complete = "complete";

    private const string Bash = """
        _lab() {
            local word
            COMPREPLY=()
            while IFS= read -r word; do
                [[ $word == "${COMP_WORDS[COMP_CWORD]}"* ]] && COMPREPLY+=("$word")
            done < <("${COMP_WORDS[0]}" complete "$COMP_POINT" "$COMP_LINE" 2>/dev/null)
        }
        complete -o default -F _lab lab ./lab
        """;

    private const string Zsh = """
        _lab() {
            local -a found
            found=("${(@f)$(${words[1]} complete $CURSOR "$BUFFER" 2>/dev/null)}")
            compadd -a found
        }
        compdef _lab lab ./lab
        """;

    private const string Fish = """
        function __lab_complete
            set --local program (commandline --tokenize --cut-at-cursor)[1]
            $program complete (commandline --cursor) (commandline) 2>/dev/null
        end
        complete --command lab --no-files --arguments '(__lab_complete)'
        """;

    internal static Command Create()
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var verb = new Command("completion", "Print a shell's completion script; for bash: source <(./lab completion bash).") { shell };
        verb.SetAction(parsed =>
        {
            Console.WriteLine(parsed.GetValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish });
            return ExitCodes.Ok;
        });
        return verb;
    }

    /// <summary>The verb for the scripts.</summary>
    /// <param name="root">The command whose words are completed.</param>
    internal static Command CreateComplete(Command root)
    {
        var position = new Argument<string>("POSITION");
        var line = new Argument<string>("LINE");
        var verb = new Command(Complete, "Print the words that may stand at a position of a command line.") { position, line };
        verb.Hidden = true;
        verb.SetAction(parsed =>
        {
            var text = parsed.GetValue(line)!;
            var end = int.TryParse(parsed.GetValue(position), CultureInfo.InvariantCulture, out var number) && number >= 0
                && number < text.Length ? number : text.Length;
            var words = text[..end].TrimStart();
            var start = words.IndexOf(' ', StringComparison.Ordinal); // behind the program's name
            var typed = start < 0 ? "" : words[(start + 1)..];
            foreach (var completion in root.Parse(typed).GetCompletions(typed.Length))
                Console.WriteLine(completion.Label);
            return ExitCodes.Ok;
        });
        return verb;
    }
}
