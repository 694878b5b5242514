using Conformance.Launcher;
using Microsoft.Playwright;

namespace Conformance.Tests.Reports;

/// <summary>Debian's Chromium, driven by Playwright. It gets no network: the background requests of the browser itself are off.</summary>
internal sealed class Chromium : IAsyncDisposable
{
    private readonly IPlaywright _playwright;

    private Chromium(IPlaywright playwright, IBrowser browser)
    {
        _playwright = playwright;
        Browser = browser;
    }

    internal IBrowser Browser { get; }

    internal static async Task<Chromium> StartAsync()
    {
        await Need.EnsureAsync(Need.ForTests, CancellationToken.None);
        var playwright = await Playwright.CreateAsync();
        return new Chromium(playwright, await playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions
        {
            ExecutablePath = Need.PathOf("chromium"),
            ChromiumSandbox = false, // needs user namespaces, which root in a container lacks
            Args = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"],
        }));
    }

    public async ValueTask DisposeAsync()
    {
        await Browser.DisposeAsync();
        _playwright.Dispose();
    }
}
