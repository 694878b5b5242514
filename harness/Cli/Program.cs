using Conformance.Cli.Kernels;
using Conformance.Harness;
var run = RunFolder.Create(Environment.CurrentDirectory);
var r = await new UmlKernel(UmlKernel.DebianBinary).RunAsync(new LabCommand(args, run) { Input = Console.OpenStandardInput(), Output = Console.OpenStandardOutput(), Error = Console.OpenStandardError() }, default);
Console.Error.WriteLine(r);
return r.ExitCode;
