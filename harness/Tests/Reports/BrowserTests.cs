using Conformance.Labs;
using Conformance.Reports;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;

namespace Conformance.Tests.Reports;

/// <summary>The HTML report in a real browser, opened from disk. Screenshots are kept in <c>artifacts/screenshots/</c>.</summary>
[NonParallelizable]
public sealed class BrowserTests
{
    private readonly List<string> _console = [];
    private SampleRun _run = null!;
    private Chromium _chromium = null!;
    private IPage _page = null!;

    /// <summary>Where the tests keep what they have seen.</summary>
    internal static string Screenshots { get; } =
        Directory.CreateDirectory(Path.Combine(ProjectFolder.Root, "artifacts", "screenshots")).FullName;

    [OneTimeSetUp]
    public async Task StartBrowser()
    {
        _chromium = await Chromium.StartAsync();
        _run = new SampleRun([.. SampleRun.Claims.Claims.Keys.Select((id, i) => (id, i % 7 == 0 ? (Verdict)(i / 7 % 5) : Verdict.Holds))]);
        ReportFiles.Write(_run.Results, Maker.Unknown);
    }

    [OneTimeTearDown]
    public async Task EndBrowser()
    {
        await _chromium.DisposeAsync();
        _run.Dispose();
    }

    [SetUp]
    public async Task OpenPage()
    {
        _console.Clear();
        _page = await _chromium.Browser.NewPageAsync();
        _page.Console += (_, message) => _console.Add($"{message.Type}: {message.Text}");
        _page.PageError += (_, error) => _console.Add($"error: {error}");
        _page.Request += (_, request) =>
        {
            if (!request.Url.StartsWith("file:", StringComparison.Ordinal) && !request.Url.StartsWith("data:", StringComparison.Ordinal))
                _console.Add($"request: {request.Url}");
        };
        await _page.GotoAsync(AddressOf(_run));
    }

    [TearDown]
    public async Task ClosePage()
    {
        await _page.CloseAsync();
        _console.ShouldBeEmpty("the browser's console, and requests to a network");
    }

    [Test]
    public async Task The_page_shows_the_run()
    {
        var summary = await _page.Locator("#summary").InnerTextAsync();

        summary.ShouldContain(SampleRun.Proxy.Name);
        summary.ShouldContain("6.1.176 (uml)");
        summary.ShouldContain("84.0 s");
        summary.ShouldContain($"{_run.Results.Count(Verdict.Violated)} violated");
        (await _page.Locator(".claim").CountAsync()).ShouldBe(SampleRun.Claims.Claims.Count);
        (await _page.Locator("#profiles tbody tr").CountAsync()).ShouldBe(Profile.Of(_run.Results).Count);
        await ScreenshotAsync("summary");
    }

    [Test]
    public async Task A_link_to_a_claim_opens_its_story()
    {
        await _page.GotoAsync($"{AddressOf(_run)}#{SampleRun.Story}");
        var claim = _page.Locator($"#{SampleRun.Story}");

        var story = claim.Locator(".story svg");
        await story.WaitForAsync();
        (await claim.EvaluateAsync<bool>("c => c.open")).ShouldBeTrue();
        (await story.Locator("line.lane").CountAsync()).ShouldBe(3);
        (await story.Locator("line.arrow").CountAsync()).ShouldBe(3, "two hops, and a packet that nobody received");
        (await story.Locator("line.lost").CountAsync()).ShouldBe(1);
        var words = await story.TextContentAsync() ?? "";
        words.ShouldContain("✎ destination 10.10.0.1:8410 -> 192.168.113.99:8080");
        words.ShouldContain("SYN_RECV 58 s");
        var text = await claim.TextContentAsync() ?? "";
        text.ShouldContain("nat PREROUTING -j KUBE-SERVICES");
        text.ShouldContain($"./lab run --filter {SampleRun.Story}");
        await ScreenshotAsync("story");
    }

    [Test]
    public async Task Links_lead_to_files_of_the_run()
    {
        await OpenAsync(SampleRun.Story);
        await _page.Locator($"#{SampleRun.Story} summary", new PageLocatorOptions { HasText = "Captures" }).ClickAsync();

        foreach (var link in await _page.Locator($"#{SampleRun.Story} a:not([href^='#'])").AllAsync())
            File.Exists(new Uri((await link.EvaluateAsync<string>("a => a.href"))!).LocalPath).ShouldBeTrue();
    }

    [Test]
    public async Task Filters_choose_claims()
    {
        await _page.FillAsync("#search", "snat");
        (await IdsAsync()).ShouldContain("SNAT-1");
        (await IdsAsync()).ShouldNotContain("HA-1");
        await _page.FillAsync("#search", "");
        await _page.SelectOptionAsync("#filter-chapter", "failover");
        (await IdsAsync()).ShouldAllBe(id => id.StartsWith("HA-", StringComparison.Ordinal));
        await _page.SelectOptionAsync("#filter-chapter", "");
        await _page.SelectOptionAsync("#filter-verdict", "violated");
        (await IdsAsync()).Count.ShouldBe(_run.Results.Count(Verdict.Violated));
        await _page.SelectOptionAsync("#filter-profile", "Article");
        (await IdsAsync()).Count.ShouldBe(_run.Results.Claims.Count(c => c.Verdict == Verdict.Violated && c.Profile == "Article"));
        await _page.SelectOptionAsync("#filter-verdict", "");
        await _page.SelectOptionAsync("#filter-profile", "");
        await _page.SelectOptionAsync("#filter-feature", "health-check-node-port");
        (await IdsAsync()).Count.ShouldBe(_run.Results.Claims.Count(c => c.Features.Contains("health-check-node-port")));
        (await _page.Locator("#count").InnerTextAsync()).ShouldStartWith($"{(await IdsAsync()).Count} of ");
    }

    [Test]
    public async Task A_filter_works_while_a_claim_is_open()
    {
        await OpenAsync(SampleRun.Story);

        await _page.SelectOptionAsync("#filter-chapter", "failover");
        (await IdsAsync()).ShouldAllBe(id => id.StartsWith("HA-", StringComparison.Ordinal));
        await _page.SelectOptionAsync("#filter-chapter", "snat");

        (await _page.Locator($"#{SampleRun.Story}").EvaluateAsync<bool>("c => c.open")).ShouldBeFalse("it was not there meanwhile");
        await _page.CheckAsync("label.check input");
        await _page.GotoAsync($"{AddressOf(_run)}#HA-7"); // which the learner's edition does not have
        await _page.Locator("#HA-7 .story svg").WaitForAsync();
    }

    [Test]
    public async Task The_learners_edition_has_the_articles_words_and_errata()
    {
        await _page.CheckAsync("label.check input");

        (await _page.Locator(".article").CountAsync()).ShouldBe(_run.Results.Claims.Count(c => c.Article.Verdict != ArticleVerdict.Silent));
        var lesson = await _page.Locator(".article", new PageLocatorOptions { HasText = SampleRun.Story }).InnerTextAsync();
        lesson.ShouldContain(SampleRun.Claims.Claims[SampleRun.Story].Zh);
        lesson.ShouldContain(SampleRun.Claims.Claims[SampleRun.Story].Correct!);
        lesson.ShouldContain("imprecise");
        await ScreenshotAsync("learner");
    }

    [Test]
    public async Task Every_word_of_the_page_is_there_in_chinese()
    {
        (await _page.EvaluateAsync<string[]>(
            "Object.keys(words.en).filter(k => !words.zh[k]).concat(Object.keys(words.zh).filter(k => !words.en[k]))"))
            .ShouldBeEmpty();
        var english = await ChromeTextAsync();

        await _page.SelectOptionAsync("#language", "zh");

        (await ChromeTextAsync()).Where(t => english.Contains(t, StringComparer.Ordinal) && t.Any(char.IsAsciiLetterLower)).ShouldBeEmpty();
        (await _page.GetAttributeAsync("html", "lang")).ShouldBe("zh");
        await OpenAsync(SampleRun.Story);
        await ScreenshotAsync("chinese");

        // labels, headings and choices; chapters and profiles keep the catalogue's names
        async Task<IReadOnlyList<string>> ChromeTextAsync() => await _page.EvaluateAsync<string[]>("""
            [...document.querySelectorAll('h1, h2, label > span, th[scope=col], dt, .tiles li, .skip, #filter-verdict option, #filter-article option')]
                .map(e => e.textContent).concat([...document.querySelectorAll('#filters label')].map(l => l.firstChild.textContent))
            """);
    }

    [TestCase("light")]
    [TestCase("dark")]
    public async Task A_screen_reader_finds_no_serious_fault(string colours)
    {
        await _page.SelectOptionAsync("#colours", colours);
        await OpenAsync(SampleRun.Story);
        foreach (var part in await _page.Locator($"#{SampleRun.Story} .body > div > div > details > summary").AllAsync())
        {
            if (await part.EvaluateAsync<bool>("s => !s.parentElement.open"))
                await part.ClickAsync();
        }

        (await SeriousAsync()).ShouldBeEmpty();
        await ScreenshotAsync($"open-{colours}");
        await _page.CheckAsync("label.check input");
        (await SeriousAsync()).ShouldBeEmpty();

        async Task<IEnumerable<string>> SeriousAsync() => (await _page.RunAxe()).Violations.Where(v => v.Impact is "serious" or "critical")
            .Select(v => $"{v.Id}: {v.Description}: {string.Join(" ", v.Nodes.Take(3).Select(n => n.Html))}");
    }

    [Test]
    public async Task A_claim_opens_by_the_keyboard()
    {
        await _page.Keyboard.PressAsync("/");
        await _page.Keyboard.TypeAsync(SampleRun.Story);
        await _page.Locator($"#{SampleRun.Story} > summary").FocusAsync();
        await _page.Keyboard.PressAsync("Enter");

        await _page.Locator($"#{SampleRun.Story} .story svg").WaitForAsync();
        (await _page.InputValueAsync("#search")).ShouldBe(SampleRun.Story);
    }

    [Test]
    public async Task A_narrow_screen_scrolls_in_one_direction_only()
    {
        await _page.SetViewportSizeAsync(380, 800);
        await OpenAsync(SampleRun.Story);

        (await _page.EvaluateAsync<int>("document.documentElement.scrollWidth")).ShouldBeLessThanOrEqualTo(380);
        await ScreenshotAsync("narrow");
    }

    [Test]
    public async Task Two_runs_are_side_by_side()
    {
        using var other = new SampleRun([.. SampleRun.Claims.Claims.Keys.Select(id => (id, Verdict.Holds))]);
        var file = Path.Combine(other.Folder, "comparison.html");
        await File.WriteAllTextAsync(file, HtmlReport.Render(other.Folder, _run.Results, other.Results));

        await _page.GotoAsync(new Uri(file).AbsoluteUri);

        var differences = RunComparison.Of(_run.Results, other.Results);
        (await IdsAsync()).ShouldBe(differences.Select(d => d.Id), ignoreOrder: true);
        await OpenAsync(differences[0].Id);
        (await _page.Locator($"#{differences[0].Id} .sides > div").CountAsync()).ShouldBe(2);
        await _page.Locator($"#{differences[0].Id} .story svg").Nth(1).WaitForAsync();
        await ScreenshotAsync("comparison");
    }

    [Test]
    public async Task A_damaged_record_is_named_on_the_page()
    {
        using var damaged = new SampleRun((SampleRun.Story, Verdict.Holds), (SampleRun.Core, Verdict.Holds));
        await File.WriteAllTextAsync(damaged.PathOf(SampleRun.Core), "{");
        ReportFiles.Write(damaged.Results, Maker.Unknown);

        await _page.GotoAsync(AddressOf(damaged));

        (await _page.Locator(".faults").InnerTextAsync()).ShouldContain($"{SampleRun.Core}.json cannot be read");
        (await IdsAsync()).ShouldBe([SampleRun.Story, SampleRun.Core]);
    }

    private static string AddressOf(SampleRun run) => new Uri(Path.Combine(run.Folder, ReportFiles.Html)).AbsoluteUri;

    private async Task<IReadOnlyList<string>> IdsAsync() =>
        await _page.EvaluateAsync<string[]>("[...document.querySelectorAll('.claim')].map(c => c.id)");

    private async Task OpenAsync(string id)
    {
        await _page.EvaluateAsync($"location.hash = '{id}'");
        await _page.Locator($"#{id} .story svg").First.WaitForAsync();
    }

    private Task ScreenshotAsync(string name) =>
        _page.ScreenshotAsync(new PageScreenshotOptions { Path = Path.Combine(Screenshots, $"{name}.png") });
}
