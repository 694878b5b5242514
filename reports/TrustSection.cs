using System.Globalization;
using System.Net;
using System.Text;

namespace Conformance.Reports;

/// <summary>The part of a page that says why its results can be believed: what each job has shown last on this machine.</summary>
public static class TrustSection
{
    /// <summary>Each job with what it shows.</summary>
    private static readonly (string Job, string Shows)[] s_jobs =
    [
        ("mutate", "Generators with one fault each: on every one a claim is violated."),
        ("flows", "Random flows to random Services: the kernel does what the explanation of the packet says."),
        ("soak", "A proxy that is killed, frozen and starved while its cluster changes: traffic to what does not change goes on."),
        ("fuzz", "Hostile input: every reader ends with a result or with an error of its own."),
        ("kills", "Any process of a run killed at any moment: no process, mount, control group or file is left."),
    ];

    /// <param name="runFolder">The folder of a run; what the jobs have shown is beside it.</param>
    /// <returns>A table in HTML.</returns>
    public static string Render(string runFolder)
    {
        var records = (Path.GetDirectoryName(Path.GetFullPath(runFolder)) is { } artifacts && Path.GetFileName(artifacts) == "artifacts"
            ? TrustRecord.Last(artifacts) : []).ToDictionary(r => r.Job, StringComparer.Ordinal);
        var html = new StringBuilder("<table><tbody>\n");
        foreach (var (job, shows) in s_jobs)
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><th scope=\"row\"><code>{job}</code></th><td>{Text(shows)}");
            if (records.GetValueOrDefault(job) is not { } record)
                html.Append(CultureInfo.InvariantCulture, $" <span class=\"quiet\">No result here: <code>./lab {job}</code>.</span>");
            else
            {
                html.Append(CultureInfo.InvariantCulture, $"<br><span class=\"{(record.IsGood ? "holds" : "violated")}\">" +
                    $"{(record.IsGood ? "All was as it must be" : "Not all was as it must be")}</span>, " +
                    $"{record.Date:yyyy-MM-dd HH:mm} UTC, commit {Text(record.Commit)}" +
                    $"{(record.Kernel.Length > 0 ? $", kernel {Text(record.Kernel)}" : "")}, " +
                    $"{record.Seconds:0} s: <code>{Text(record.Command)}</code>");
                foreach (var finding in record.Findings)
                    html.Append(CultureInfo.InvariantCulture, $"<br>{Text(finding)}");
            }
            html.Append("</td></tr>\n");
        }
        return html.Append("</tbody></table>").ToString();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
