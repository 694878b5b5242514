using System.CommandLine;
using Conformance.Labs;
using Conformance.Launcher.LabKernels;
using Conformance.Launcher.Labs;
using Conformance.Launcher.Tours;
using Conformance.Linux;
using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;

namespace Conformance.Launcher.Verbs;

/// <summary>
/// <c>./lab tour NAME</c>: walks through a part of the article in a lab. It shows each command before it runs it, the packets of each
/// question, and what is wrong in the article.
/// </summary>
internal static class TourVerb
{
    private const string Chinese = "zh";
    private const string English = "en";

    /// <summary>What the verb itself says, in both languages.</summary>
    private sealed record Words(string Article, string Silent, string Correct, string Enter, string Done)
    {
        internal static Words Of(string language) => language == Chinese
            ? new("文章", "文章没有提到：", "更正", "按回车键继续", "结束。每一步的结果都和说明一致。")
            : new("the article", "the article does not say:", "in fact", "press Enter",
                "The end. Every question had the outcome that was said.");
    }

    internal static Command Create()
    {
        var name = new Argument<string>("NAME") { Description = $"{string.Join(", ", Tour.Names)}." };
        name.CompletionSources.Add([.. Tour.Names]);
        name.AcceptOnlyFromAmong([.. Tour.Names]);
        var yes = new Option<bool>("--yes") { Description = "Do not wait for Enter before each command." };
        var language = new Option<string>("--lang") { Description = "en or zh.", DefaultValueFactory = _ => English };
        language.AcceptOnlyFromAmong(English, Chinese);
        var kernel = KernelOption.CreateOption();
        var verb = new Command("tour", "Walk through a part of the article in a lab, command by command, packet by packet.") { name, yes,
            language, kernel };
        verb.SetAction(async parsed =>
        {
            var tour = Tour.Load(parsed.GetValue(name)!);
            var (isUnattended, lang) = (parsed.GetValue(yes), parsed.GetValue(language)!);
            if (!isUnattended && !Terminal.IsThere)
                throw new HarnessException("Nobody can press Enter.", "Standard input or output is no terminal.",
                    "The tour was not started.",
                    "Use a terminal, or --yes.");
            using var interrupt = new Interrupt();
            var labKernel = await KernelOption.ChooseAsync(parsed.GetValue(kernel)!, interrupt.Token);
            return labKernel is HostKernel ? await RunAsync(tour, isUnattended, lang, interrupt.Token)
                : await KernelVerb.RunAsync(labKernel, [Programs.Dotnet, Programs.Cli, "tour", tour.Name, "--lang", lang, "--kernel",
                    "host",
                    .. isUnattended ? new[] { "--yes" } : []], interrupt.Token);
        });
        return verb;
    }

    private static async Task<int> RunAsync(Tour tour, bool isUnattended, string language, CancellationToken cancellationToken)
    {
        var words = Words.Of(language);
        var claims = Catalogue.Load(Path.Combine(ProjectFolder.Root, "conformance")).Claims;
        if (tour.Steps.FirstOrDefault(s => !claims.ContainsKey(s.Claim)) is { } unknown)
            throw new HarnessException($"The tour {tour.Name} names a claim that the catalogue lacks.", unknown.Claim,
                "The tour was not started.", "Correct its file in harness/Launcher/Tours.");
        await using var lab = await Lab.StartAsync(Topology.Load(tour.Topology));
        foreach (var (number, step) in tour.Steps.Index())
        {
            Console.WriteLine($"\n== {number + 1}/{tour.Steps.Count}  {step.Claim} ==\n{Describe(claims[step.Claim], language, words)}\n");
            foreach (var action in step.Actions)
            {
                Console.Write(action.Text);
                if (!isUnattended)
                {
                    Console.Write($"   [{words.Enter}] ");
                    // A line that is waited for does not hear Ctrl-C.
                    if (await Task.Run(Console.In.ReadLine, CancellationToken.None).WaitAsync(cancellationToken) is null)
                        return ExitCodes.Interrupted;
                }
                Console.WriteLine(isUnattended ? "\n" : "");
                Console.WriteLine(Indented(await DoAsync(lab, action)));
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        Console.WriteLine($"\n{words.Done}");
        return ExitCodes.Ok;
    }

    /// <summary>The article's words in its language or in English, and the correction.</summary>
    private static string Describe(Claim claim, string language, Words words) =>
        (claim.Article == ArticleVerdict.Silent ? $"{words.Silent} {claim.En}"
            : $"{words.Article}: {(language == Chinese ? claim.Zh : claim.En)}")
        + (claim.Correct is null ? "" : $"\n{words.Correct}: {claim.Correct}");

    /// <returns>What is to be shown of it.</returns>
    /// <exception cref="HarnessException">The kernel did something else than the tour says.</exception>
    private static async Task<string> DoAsync(Lab lab, TourAction action)
    {
        var node = lab[action.Node];
        switch (action)
        {
            case TourCommand command:
                return await node.RunAsync(command.CommandLine);
            case TourServer server:
                node.Serve(server.Protocol, server.Port);
                return "";
            case TourQuestion question:
                var flow = question.IsUdp ? await node.AskUdpAsync(question.Target) : await node.AskAsync(question.Target);
                var outcome = flow.Answer is not null ? "answered" : flow.Outcome.IsRefusal ? "refused" : "unanswered";
                return outcome == question.Expected ? $"{flow}\n{flow.ReadStory()}"
                    : throw new HarnessException($"The tour says '{question.Expected}', and the question was {outcome}.",
                        $"{flow}\n{flow.ReadStory()}", "The tour ends here.",
                        "Look at the packets; if the kernel behaves otherwise, correct the tour's file.");
            default:
                throw new System.Diagnostics.UnreachableException(action.Text);
        }
    }

    private static string Indented(string text) => string.Concat(text.TrimEnd('\n').Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(l => $"    {l}\n"));
}
