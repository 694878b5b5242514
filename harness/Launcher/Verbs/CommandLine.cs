using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Labs;
using Conformance.Linux;
using Conformance.Linux.Features;
using Conformance.Topologies;
using Shouldly;

namespace Conformance.Launcher.Verbs;

/// <summary>The command line of <c>./lab</c>: its verbs, what is wrong with a call, and the handler of everything that fails.</summary>
internal static class CommandLine
{
    private const int HelpWidth = 120;
    private const int MaxLengthOfValues = 25;

    /// <summary>Stores faults of the launcher itself below <c>artifacts/</c>.</summary>
    internal static CrashReport Faults { get; } = new("lab", () => Path.Combine(ProjectFolder.Root, "artifacts"));

    internal static async Task<int> RunAsync(string[] args)
    {
        // Not a RootCommand: that one calls itself after the assembly.
        var root = new Command("lab",
            "IPVS conformance: builds labs of network namespaces, drives real traffic through real IPVS, and says what it proved.")
        {
            RunVerb.Create(), TestVerb.Create(), ClaimsVerb.Create(), DoctorVerb.Create(), ShellVerb.Create(), UpVerb.Create(),
            ImportVerb.Create(), InspectVerb.Create(), ExecVerb.Create(),
            CaptureVerb.Create(), ExplainVerb.Create(), GraphVerb.Create(), DownVerb.Create(), KernelVerb.Create(), BenchVerb.Create(),
            TourVerb.Create(), ReportVerb.Create(), MigrateVerb.Create(), MutateVerb.Create(), FlowsVerb.Create(), SoakVerb.Create(),
            FuzzVerb.Create(), KillsVerb.Create(), PackageVerb.Create(), KernelsVerb.Create(),
                    CompletionVerb.Create(),
        };
        root.Subcommands.Add(CompletionVerb.CreateComplete(root));
        var help = new HelpAction();
        if (Console.IsOutputRedirected)
            help.MaxWidth = HelpWidth;
        root.Options.Add(new HelpOption { Recursive = true, Action = help });
        root.Options.Add(new VersionOption());
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            Console.Error.WriteLine(DescribeErrors(parsed));
            return ExitCodes.Usage;
        }
        return await GuardAsync(() =>
        {
            if (parsed.Action == help)
                NameValues(root);
            return parsed.InvokeAsync(new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null
            });
        });
    }

    /// <summary>The help lists the values that a shell completes where they are few; else it has a word in capitals for them.</summary>
    private static void NameValues(Command command)
    {
        foreach (var option in command.Options.Where(o => o.ValueType != typeof(bool)
            && !AreFew(o.GetCompletions(CompletionContext.Empty))))
            option.HelpName ??= option.Name.TrimStart('-').ToUpperInvariant();
        foreach (var argument in command.Arguments.Where(a => !AreFew(a.GetCompletions(CompletionContext.Empty))))
            argument.HelpName ??= argument.Name.ToUpperInvariant();
        foreach (var verb in command.Subcommands)
            NameValues(verb);

        static bool AreFew(IEnumerable<CompletionItem> values) => values.Sum(v => v.Label.Length) is > 0 and <= MaxLengthOfValues;
    }

    /// <summary>
    /// Errors that people cause or can fix are explained in four parts; everything else is a fault of the launcher, and its stack goes into
    /// a file.
    /// </summary>
    internal static async Task<int> GuardAsync(Func<Task<int>> action)
    {
        try
        {
            return await action();
        }
        catch (OperationCanceledException)
        {
            return Explain("Interrupted.", ExitCodes.Interrupted);
        }
        catch (CannotRunHereException e)
        {
            return Explain(e.Message, ExitCodes.CannotRunHere);
        }
        catch (LabKernelException e)
        {
            return Explain(e.Message, e.BeforeBoot ? ExitCodes.CannotRunHere : ExitCodes.Violated);
        }
        catch (Exception e) when (e is TopologyException or HarnessException or LabNotFoundException)
        {
            return Explain(e.Message, ExitCodes.Violated);
        }
        catch (CommandFailedException e)
        {
            return Explain($"A command in a node failed.\n  evidence: {e.Message}\n  consequence: the verb was not carried out to its " +
                $"end\n  fix: see the evidence; './lab doctor' checks this machine", ExitCodes.Violated);
        }
        catch (ShouldAssertException e) // of Eventually
        {
            return Explain($"An expected change did not come in time.\n  evidence: {e.Message}\n  consequence: the verb was not carried " +
                $"out to its end\n  fix: try again; './lab doctor' checks this machine", ExitCodes.Violated);
        }
        catch (KernelException e)
        {
            return Explain($"The kernel refused an operation.\n  evidence: {e.Message}\n  consequence: the verb was not carried out to " +
                $"its end\n  fix: './lab doctor' shows what this kernel has", ExitCodes.Violated);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Explain(Disk.Describe(e), ExitCodes.Violated);
        }
        catch (Exception e)
        {
            return Faults.Write(e);
        }
    }

    private static int Explain(string message, int exitCode)
    {
        Console.Error.WriteLine(message);
        return exitCode;
    }

    /// <summary>What is wrong with a call, with the nearest verb or option for each word that is unknown.</summary>
    private static string DescribeErrors(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        string[] options = [.. Chain(parsed.CommandResult).SelectMany(c => c.Command.Options).Where(o => !o.Hidden)
            .SelectMany(o => o.Aliases.Append(o.Name))];
        string[] verbs = [.. command.Subcommands.Select(c => c.Name)];
        var lines = parsed.Errors.Select(e => e.Message).Distinct(StringComparer.Ordinal).Select(message =>
            parsed.UnmatchedTokens.FirstOrDefault(t => message.Contains($"'{t}'", StringComparison.Ordinal)) is { } word
                ? $"{message}{Nearest.Hint(word.Split('=')[0], word.StartsWith('-') ? options : verbs)}"
                : message);
        // A wrong word makes the verb missing as well: that is no second mistake.
        if (parsed.UnmatchedTokens.Count > 0)
            lines = lines.Where(l => !l.StartsWith("Required command", StringComparison.Ordinal));
        var help = command.Name == "lab" ? "./lab --help lists the verbs, ./lab VERB --help the arguments of a verb."
            : $"./lab {command.Name} --help lists its arguments.";
        return string.Join('\n', lines.Append(help));
    }

    private static IEnumerable<CommandResult> Chain(CommandResult? result)
    {
        for (; result is not null; result = result.Parent as CommandResult)
            yield return result;
    }
}
