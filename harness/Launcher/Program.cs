using Conformance.Launcher.Runner;
using Conformance.Launcher.Verbs;

CommandLine.Faults.HandleUnhandled();

// What other programs call, before the command line is parsed: they start often, and in a lab kernel parsing costs half a second.
return args switch
{
    [TestRunner.Verb, .. var rest] => await CommandLine.GuardAsync(() => Task.FromResult(TestRunner.Run(rest))),
    [TestHost.Verb, .. var rest] => await CommandLine.GuardAsync(() => TestHost.RunAsync(rest)),
    [TestHost.PrepareVerb] => await CommandLine.GuardAsync(TestHost.PrepareAsync),
    _ => await CommandLine.RunAsync(args),
};
