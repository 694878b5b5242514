using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using Conformance.Generator.Watching;

namespace Conformance.Generator.Verbs;

/// <summary><c>watch</c>: makes the kernel what the objects ask for, and keeps it so. SIGTERM leaves the state.</summary>
internal static class WatchVerb
{
    internal static Command Create()
    {
        var flags = new Flags();
        var syncPeriod = new Option<string>("--ipvs-sync-period") { Description = "Between two looks for drift.", DefaultValueFactory = _ => "30s" };
        var minSyncPeriod = new Option<string>("--ipvs-min-sync-period") { Description = "At least between two syncs.", DefaultValueFactory = _ => "0s" };
        var healthz = new Option<string>("--healthz-bind-address") { Description = "Where /healthz and /livez are served; empty for nowhere.", DefaultValueFactory = _ => "0.0.0.0:10256" };
        var metrics = new Option<string>("--metrics-bind-address") { Description = "Where /metrics is served; empty for nowhere.", DefaultValueFactory = _ => "127.0.0.1:10249" };
        var verb = new Command("watch", "Make the kernel what the objects ask for, and keep it so until SIGTERM.") { syncPeriod, minSyncPeriod, healthz, metrics };
        var input = new InputFlags(verb);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            using var instance = Instance.Take();
            using var session = await Session.OpenAsync(flags.Read(parsed));
            using var stop = new CancellationTokenSource();
            var exitCode = ExitCodes.Ok;
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Stop(context, ExitCodes.Ok));
            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Stop(context, ExitCodes.Interrupted));
            if (Flags.Period(parsed.GetValue(syncPeriod)!) <= TimeSpan.Zero)
                throw new GeneratorException("--ipvs-sync-period must be longer than 0.", $"It is '{parsed.GetValue(syncPeriod)}'.", "Nothing was done.", "Such as 30s.", ExitCodes.Usage);
            var options = new WatchOptions(Flags.Period(parsed.GetValue(syncPeriod)!), Flags.Period(parsed.GetValue(minSyncPeriod)!), EndPoint(parsed.GetValue(healthz)!), EndPoint(parsed.GetValue(metrics)!));
            using var watcher = new Watcher(session.Options, options, input.Follow(parsed, session.Options, Log), session.Kernel, Log);
            try
            {
                await watcher.RunAsync(stop.Token);
            }
            catch (OperationCanceledException)
            {
                Log("stopped; the state stays (ipvs-generator cleanup removes it)");
            }
            return exitCode;

            void Stop(PosixSignalContext context, int code)
            {
                context.Cancel = true;
                exitCode = code;
                stop.Cancel();
            }
        });
        return verb;
    }

    private static void Log(string line) => Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:yyyy-MM-ddTHH:mm:ss.fffZ} {line}"));

    private static IPEndPoint? EndPoint(string text)
    {
        if (text.Length == 0)
            return null;
        return IPEndPoint.TryParse(text, out var endPoint) && endPoint.Port > 0
            ? endPoint
            : throw new GeneratorException("The address to serve on is none.", $"It is '{text}'.", "Nothing was done.", "Such as 0.0.0.0:10256 or [::]:10256", ExitCodes.Usage);
    }
}
