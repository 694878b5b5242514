using Conformance.Generator.Verbs;

return await CommandLine.RunAsync(args, new Ports());
