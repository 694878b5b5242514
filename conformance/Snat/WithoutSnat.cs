using Conformance.Reports;
using Conformance.Topologies;
using Conformance.Traffic;
using Conformance.Traffic.Assertions;

namespace Conformance.Suite.Snat;

/// <summary>Article 1.2: real servers whose gateway is not the director, and nothing that rewrites the source.</summary>
[Topology("article-nat")]
public sealed class WithoutSnat : ArticleFixture
{
    [Test, Claim("SNAT-1")]
    public async Task Client_resets_the_reply_that_comes_straight_from_the_real_server()
    {
        await SetUpServiceAsync("rs1:8080");

        var flow = await Client.ConnectAsync(Service);

        await flow.ShouldTimeOutAsync();
        await flow.ShouldBeSeenAsAsync(
            On("client").Leaving.Syn(from: "client", to: Service),
            On("director").Leaving.Syn(from: "client", to: "rs1:8080"),
            On("client").Arriving.SynAck(from: "rs1:8080", to: "client"),
            On("client").Leaving.Reset(from: "client", to: "rs1:8080"),
            On("client").Leaving.Syn(from: "client", to: Service));
        await flow.ShouldNotBeSeenAsync(On("client").SynAck(from: Service));
        Director.IpvsConnections().ShouldHaveSingleItem().State.ShouldBe("SYN_RECV");
    }
}
