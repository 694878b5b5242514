using Conformance.Cli.Kernels;
using Conformance.Cli.Runner;
using Conformance.Harness;
if (args[0] == TestRunner.Verb) return TestRunner.Run(args[1..]);
var run = RunFolder.Create(Environment.CurrentDirectory);
var r = await new UmlKernel(UmlKernel.DebianBinary).RunAsync(new LabCommand(args, run) { Input = Console.OpenStandardInput(), Output = Console.OpenStandardOutput(), Error = Console.OpenStandardError(), Variables = new Dictionary<string,string> {["CONFORMANCE_RUN"]=run} }, default);
Console.Error.WriteLine(r);
return r.ExitCode;
