using System.Text;
using System.Text.RegularExpressions;
using Conformance.Generator.Model;
using Conformance.Generator.Sources;

namespace Conformance.KernelTests.Generator;

/// <summary>One step of a recording: what was done, and the name of the recorded difference that it made.</summary>
internal sealed record Step(string Script, string Recording)
{
    /// <summary>The steps of a recording's script: what stands between two snapshots.</summary>
    internal static IEnumerable<Step> Of(Scenario scenario)
    {
        var start = 0;
        var script = scenario.Read("steps.sh");
        foreach (Match match in Regex.Matches(script, @"snapdiff (?<name>\S+)", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)))
        {
            yield return new Step(script[start..match.Index], match.Groups["name"].Value);
            start = match.Index + match.Length;
        }
    }

    /// <summary>Does to the objects what the step did: applies its documents, deletes what it deleted.</summary>
    internal void Apply(Cluster cluster)
    {
        foreach (Match deleted in Regex.Matches(Script, @"del (?<kind>Service|EndpointSlice) (?<namespace>\S+) (?<name>[\w-]+)",
            RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)))
        {
            var name = new ObjectName(deleted.Groups["namespace"].Value, deleted.Groups["name"].Value);
            if (deleted.Groups["kind"].Value == "Service")
                cluster.RemoveService(name);
            else
                cluster.RemoveSlice(name);
        }
        var documents = Regex.Match(Script, @"<<'Y'\n(?<yaml>.*?)\nY\n", RegexOptions.ExplicitCapture | RegexOptions.Singleline,
            TimeSpan.FromSeconds(1));
        if (!documents.Success)
            return;
        var manifest = ManifestReader.Read("steps.sh", Encoding.UTF8.GetBytes(documents.Groups["yaml"].Value));
        manifest.Problems.ShouldBeEmpty();
        foreach (var item in manifest.Objects)
            Source.Put(cluster, item);
    }
}
