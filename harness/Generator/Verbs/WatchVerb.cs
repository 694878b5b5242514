using System.CommandLine;
using System.Runtime.InteropServices;
using Conformance.Generator.Serving;
using Conformance.Generator.Sync;
using Conformance.Generator.Watching;

namespace Conformance.Generator.Verbs;

/// <summary><c>watch</c>: makes the kernel what the objects ask for, and keeps it so. SIGTERM leaves the state.</summary>
internal static class WatchVerb
{
    internal static Command Create(Ports ports)
    {
        var flags = new Flags();
        var verb = new Command("watch", "Make the kernel what the objects ask for, and keep it so until SIGTERM.");
        var input = new InputFlags(verb);
        var initOnly = new Option<bool>("--init-only")
        {
            Description = "Set the kernel parameters alone, and end: what a container must be privileged for.",
        };
        verb.Options.Add(initOnly);
        flags.AddTo(verb);
        verb.SetAction(async parsed =>
        {
            using var instance = Instance.Take();
            using var session = Session.Open(flags.Read(parsed));
            var synchronizer = ports.Synchronizer(session.Kernel);
            if (parsed.GetValue(initOnly))
                return Session.Report(synchronizer.SetSysctls(session.Options, Console.Error.WriteLine));
            using var stop = new CancellationTokenSource();
            session.Kernel.Stop = stop.Token;
            await using var log = new LogWriter(Console.OpenStandardError());
            var exitCode = ExitCodes.Ok;
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Stop(context, ExitCodes.Ok));
            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Stop(context, ExitCodes.Interrupted));
            var open = input.Follow(parsed, session.Options, log.Write);
            using var telemetry = new Telemetry(session.Options, ports.Answer, log.Write);
            var watcher = new Watcher(session.Options, (changed, report) => ports.Follow(open(changed, report)), session.Kernel,
                synchronizer, telemetry, log.Write);
            try
            {
                await watcher.RunAsync(stop.Token);
            }
            catch (OperationCanceledException)
            {
                log.Write("stopped; the state stays (ipvs-generator cleanup removes it)");
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
}
