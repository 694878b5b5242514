using System.CommandLine;
using Conformance.Launcher.Labs;

namespace Conformance.Launcher.Verbs;

/// <summary><c>./lab exec NODE -- ARGV</c>: a command in a node of a lab that is up.</summary>
internal static class ExecVerb
{
    internal static Command Create()
    {
        var lab = InspectVerb.CreateLabOption();
        var node = new Argument<string>("NODE");
        var argv = new Argument<string[]>("ARGV")
        {
            Arity = ArgumentArity.OneOrMore,
            Description = "Behind --, the command and its arguments."
        };
        var verb = new Command("exec", "Run a command in a node of a lab that is up.") { lab, node, argv };
        verb.SetAction(parsed => RunAsync(LabRecord.Find(parsed.GetValue(lab)), parsed.GetValue(node)!, parsed.GetValue(argv)!));
        return verb;
    }

    internal static Task<int> RunAsync(LabRecord lab, string node, IEnumerable<string> argv) =>
        ForegroundProcess.RunAsync(lab.Enter(node, argv), new Dictionary<string, string?>(StringComparer.Ordinal) { ["PATH"] = lab.Path });
}
