using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Selection;

/// <summary>Services that a proxy serves, and Services that it leaves alone.</summary>
public sealed class SelectedServices : ClusterFixture
{
    [Test, Claim("SELECT-1")]
    public async Task Service_for_another_proxy_is_not_served() =>
        await NotServedAsync(NewService("web-a") with { Labels = Label("service.kubernetes.io/service-proxy-name") });

    [Test, Claim("SELECT-2")]
    public async Task Service_labelled_headless_is_not_served() =>
        await NotServedAsync(NewService("web-a") with { Labels = Label("service.kubernetes.io/headless") });

    [Test, Claim("SELECT-3")]
    public async Task Service_that_becomes_external_name_is_not_served()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await NotServedAsync(service with { Type = "ExternalName" });
    }

    [Test, Claim("SELECT-4")]
    public async Task Label_for_another_proxy_stops_the_service()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await NotServedAsync(service with { Labels = Label("service.kubernetes.io/service-proxy-name") });
    }

    private static Dictionary<string, string> Label(string name) => new(StringComparer.Ordinal) { [name] = "other" };

    private async Task NotServedAsync(ServiceSpec service)
    {
        await ApplyAsync(service);
        await (await PodA.AskAsync(service.Target())).ShouldNotBeAnsweredAsync();
    }
}
