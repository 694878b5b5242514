using System.CommandLine;
using System.Globalization;
using CliWrap;
using Conformance.Labs.Waiting;
using Conformance.Launcher.Labs;
using Command = System.CommandLine.Command;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab down</c>: takes a detached lab down.</summary>
internal static class DownVerb
{
    internal static Command Create()
    {
        var lab = InspectVerb.CreateLabOption();
        var all = new Option<bool>("--all") { Description = "All labs of this checkout." };
        var verb = new Command("down", "Take a detached lab down.") { lab, all };
        verb.SetAction(async parsed =>
        {
            var labs = parsed.GetValue(all) ? LabRecord.All() : [LabRecord.Find(parsed.GetValue(lab))];
            foreach (var record in labs)
            {
                if (record.File == Environment.GetEnvironmentVariable(LabRecord.Variable))
                    throw new LabNotFoundException($"The lab {record.Id} is this shell's own.", "Its end would end the shell.",
                        "Leave the shell (exit): that takes the lab down.");
                await CliWrap.Cli.Wrap("kill").WithArguments(["-TERM", record.ProcessId.ToString(CultureInfo.InvariantCulture)])
                    .WithValidation(CommandResultValidation.None).ExecuteAsync();
                await Eventually.Async($"the process {record.ProcessId} of {record.Id} has ended", () => record.IsAlive, alive => !alive);
                record.Delete();
                Console.WriteLine($"{record.Id} is down");
            }
            return ExitCodes.Ok;
        });
        return verb;
    }
}
