using Conformance.Clusters.Kubernetes;
using Conformance.Reports;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Services;

/// <summary>Which Services are a proxy's affair, and which are not.</summary>
public sealed class Which_services : ClusterFixture
{
    [Test, Claim("SM-83")]
    public async Task A_service_for_another_proxy_is_not_served() => await NotServedAsync(NewService("web-a") with { Labels = Label("service.kubernetes.io/service-proxy-name") });

    [Test, Claim("SM-84")]
    public async Task A_service_labelled_headless_is_not_served() => await NotServedAsync(NewService("web-a") with { Labels = Label("service.kubernetes.io/headless") });

    [Test, Claim("SM-85")]
    public async Task A_service_that_becomes_an_external_name_is_not_served_any_more()
    {
        var service = await ApplyAsync(NewService("web-a"));
        await (await PodA.AskAsync(service.Target())).ShouldBeAnsweredByAsync("web-a");

        await NotServedAsync(service with { Type = "ExternalName" });
    }

    [Test, Claim("SM-86")]
    public async Task A_label_that_gives_a_service_to_another_proxy_takes_it_from_this_one()
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
