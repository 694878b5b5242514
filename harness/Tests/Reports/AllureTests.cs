using System.Text.Json;
using CliWrap;
using CliWrap.Buffered;
using Conformance.Labs;
using Conformance.Launcher;
using Microsoft.Playwright;

namespace Conformance.Tests.Reports;

/// <summary>The Allure results of a real run, rendered by the Allure 3 of npm and opened in a browser.</summary>
[NonParallelizable]
public sealed class AllureTests
{
    private const string Allure = "allure@3.18.0";
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(5);
    private static readonly string s_tools = Path.Combine(ProjectFolder.Root, "artifacts", "npm");

    [Test]
    public async Task Allure_renders_the_results_of_a_run()
    {
        await Need.EnsureAsync(Need.ForTests, CancellationToken.None);
        Directory.CreateDirectory(s_tools);
        await RunAsync("npm", "install", "--prefix", s_tools, "--no-save", "--no-package-lock", "--no-audit", "--no-fund", Allure);
        using var limit = new CancellationTokenSource(s_limit);
        var run = await LabProgram.Command("run", "--filter", "SNAT-2,SNAT-4").ExecuteBufferedAsync(limit.Token);
        run.ExitCode.ShouldBe(0, run.StandardError);
        var results = Path.Combine(LauncherTests.FolderOf(run), "allure-results");
        var page = Path.Combine(results, "..", "allure");

        await RunAsync(Path.Combine(s_tools, "node_modules", ".bin", "allure"), "generate", "--config",
            Path.Combine(ProjectFolder.Root, "reports", "allurerc.mjs"), "--output", page, results);

        foreach (var file in Directory.GetFiles(results, "*-result.json"))
            ShouldBeComplete(JsonDocument.Parse(await File.ReadAllTextAsync(file)).RootElement);
        File.Exists(Path.Combine(results, "executor.json")).ShouldBeTrue();
        await using var chromium = await Chromium.StartAsync();
        var tab = await chromium.Browser.NewPageAsync();
        await OpenAsync(tab, new Uri(Path.GetFullPath(Path.Combine(page, "index.html"))),
            "Missing SNAT, MASQUERADE, and the conntrack sysctl");
        await tab.GetByText("kernel", new PageGetByTextOptions { Exact = true }).First.WaitForAsync();
        await tab.ScreenshotAsync(new PageScreenshotOptions { Path = Path.Combine(BrowserTests.Screenshots, "allure.png") });
    }

    /// <summary>Opens a page of Allure. Opens it again if the text does not appear.</summary>
    /// <remarks>
    /// On a busy machine Allure 3.18's code may run before the data below it in the file are there. It then asks for them in files that a
    /// page of one file does not have, and stays empty: about one time in 20 with three busy loops on two processors.
    /// </remarks>
    private static async Task OpenAsync(IPage tab, Uri page, string text)
    {
        for (var attempt = 1; ; attempt++)
        {
            await tab.GotoAsync(page.AbsoluteUri);
            try
            {
                await tab.GetByText(text).First.WaitForAsync(new LocatorWaitForOptions { Timeout = 10_000 });
                return;
            }
            catch (TimeoutException) when (attempt < 5)
            {
            }
        }
    }

    private static void ShouldBeComplete(JsonElement result)
    {
        var labels = result.GetProperty("labels").EnumerateArray()
            .Select(l => l.GetProperty("name").GetString()).ToHashSet(StringComparer.Ordinal);
        new[] { "parentSuite", "suite", "epic", "feature", "story", "tag", "testClass", "testMethod" }.Except(labels).ShouldBeEmpty();
        result.GetProperty("historyId").GetString().ShouldNotBeNullOrEmpty();
        result.GetProperty("description").GetString().ShouldNotBeNullOrEmpty();
        result.GetProperty("status").GetString().ShouldBe("passed");
        result.GetProperty("steps").GetArrayLength().ShouldBePositive();
        result.GetProperty("attachments").GetArrayLength().ShouldBePositive();
        result.GetProperty("stop").GetInt64().ShouldBeGreaterThan(result.GetProperty("start").GetInt64());
    }

    private static async Task RunAsync(string program, params string[] arguments)
    {
        using var limit = new CancellationTokenSource(s_limit);
        var result = await CliWrap.Cli.Wrap(program).WithArguments(arguments).WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(limit.Token);
        result.ExitCode.ShouldBe(0, result.StandardOutput + result.StandardError);
    }
}
