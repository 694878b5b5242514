using System.CommandLine;
using Conformance.Generator.Preflight;

namespace Conformance.Generator.Verbs;

/// <summary>
/// <c>preflight</c>: which Services of a cluster depend on what kube-proxy's IPVS mode does otherwise than its successors. Needs no
/// kernel.
/// </summary>
internal static class PreflightVerb
{
    internal static Command Create()
    {
        var flags = new Flags();
        var format = Session.FormatOption();
        var verb = new Command("preflight",
            "List the Services that depend on what only kube-proxy's IPVS mode does; exit code 1 when there are any.")
        { format };
        var input = new InputFlags(verb);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            var options = flags.Read(parsed);
            var problems = 0;
            // Of every Node, which an API server tells only who asks for all of them.
            var cluster = await input.ReadAsync(parsed, options with { FollowsAllNodes = true }, problem =>
            {
                problems += problem.Effect == Sources.ProblemEffect.NotOurs ? 0 : 1;
                Console.Error.WriteLine(problem);
            });
            var findings = Checks.Of(cluster, options);
            if (parsed.GetValue(format) == "json")
                PrintJson(findings);
            else
                foreach (var finding in findings)
                    Console.WriteLine(finding);
            var services = findings.Select(f => f.Service).Distinct().Count();
            Console.Error.WriteLine(services == 0 ? $"No Service of {cluster.Services.Count} depends on the IPVS mode."
                : $"{services} of {cluster.Services.Count} Services depend on it, in {findings.Count} ways.");
            return findings.Count > 0 || problems > 0 ? ExitCodes.Failed : ExitCodes.Ok;
        });
        return verb;
    }

    private static void PrintJson(IReadOnlyList<Finding> findings) => Session.PrintJson(findings, (writer, finding) =>
    {
        writer.WriteString("kind", finding.Kind);
        writer.WriteString("namespace", finding.Service.Namespace);
        writer.WriteString("name", finding.Service.Name);
        writer.WriteStartArray("claims");
        foreach (var claim in finding.Claims)
            writer.WriteStringValue(claim);
        writer.WriteEndArray();
        writer.WriteString("evidence", finding.Evidence);
        writer.WriteString("effect", finding.Effect);
    });
}
