using System.CommandLine;
using Conformance.Clusters.Proxies;
using Conformance.Labs;

namespace Conformance.Launcher.Verbs;

/// <summary>The option <c>--proxy</c>; a proxy that there is not is a mistake in the command line.</summary>
internal static class ProxyOption
{
    internal static Option<string?> Create(string description)
    {
        var option = new Option<string?>(
            "--proxy")
        {
            Description = $"{description}: generator, generator-api, generator-compat, kube-proxy=PATH, command=COMMAND, api=COMMAND, " +
                "image=NAME|ARCHIVE."
        };
        option.CompletionSources.Add("generator", "generator-api", "generator-compat", "kube-proxy=", "command=", "api=", "image=");
        option.Validators.Add(result =>
        {
            try
            {
                if (result.GetValueOrDefault<string?>() is { } text)
                    _ = Proxy.Parse(text);
            }
            catch (HarnessException e)
            {
                result.AddError(e.Message);
            }
        });
        return option;
    }
}
