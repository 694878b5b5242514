using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher.Tours;

namespace Conformance.Tests;

/// <summary>The article's tours, unattended, and what a tour's file may say.</summary>
[NonParallelizable]
public sealed class TourTests
{
    [TestCase("nat", "an answer came from the wrong address 192.168.113.", "answered by rs")]
    [TestCase("dr", "director:ens33  sends     172.16.0.102:", "answered by rs")]
    [TestCase("tun", "IP in IP [172.16.0.102:", "answered by rs1")]
    [TestCase("ipset", "Type: hash:ip,port", "answered by director")]
    public async Task Tours_show_commands_packets_and_corrections(string tour, string seen, string outcome)
    {
        var shown = await LabProgram.Command("tour", tour, "--yes").ExecuteBufferedAsync();

        shown.ExitCode.ShouldBe(0, shown.StandardOutput + shown.StandardError);
        foreach (var step in Tour.Load(tour).Steps)
            shown.StandardOutput.ShouldContain($"  {step.Claim} ==");
        shown.StandardOutput.ShouldSatisfyAllConditions(text => text.ShouldContain(seen), text => text.ShouldContain(outcome),
            text => text.ShouldContain("\nin fact: "), text => text.ShouldContain("The end."));
    }

    [Test]
    public async Task The_words_of_the_article_are_shown_in_its_language()
    {
        var shown = await LabProgram.Command("tour", "ipset", "--yes", "--lang", "zh").ExecuteBufferedAsync();

        shown.ExitCode.ShouldBe(0, shown.StandardError);
        shown.StandardOutput.ShouldContain("文章: ipset其实是iptables的扩展");
        shown.StandardOutput.ShouldNotContain("the article: ");
    }

    [Test]
    public async Task Without_a_terminal_it_asks_for_yes()
    {
        var shown = await LabProgram.Command("tour", "nat").WithStandardInputPipe(PipeSource.FromString("\n")).ExecuteBufferedAsync();

        shown.ExitCode.ShouldBe(1);
        shown.StandardError.ShouldContain("Nobody can press Enter.");
    }

    [Test]
    public async Task An_unknown_tour_is_refused_with_the_known_ones()
    {
        var shown = await LabProgram.Command("tour", "nosuch", "--yes").ExecuteBufferedAsync();

        shown.ExitCode.ShouldBe(64);
        (shown.StandardOutput + shown.StandardError).ShouldContain("nat");
    }

    [TestCase("topology: dr\nsteps: [{ claim: VS-1, does: [director ipvsadm -Ln] }]")]
    [TestCase("topology: dr\nsteps: [{ claim: VS-1, does: ['client asks tcp 10.0.0.1:80: served'] }]")]
    [TestCase("topology: dr\nsteps: [{ claim: VS-1, make: [] }]")]
    [TestCase("topology: dr\nsteps:")]
    [TestCase("")]
    public void What_is_no_tour_is_refused(string yaml) =>
        Should.Throw<HarnessException>(() => Tour.Parse("x", yaml)).Message.ShouldContain("The tour x cannot be read.");
}
