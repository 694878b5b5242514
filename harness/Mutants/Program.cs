using System.Text.Json;
using Conformance.Generator;
using Conformance.Generator.Sources;
using Conformance.Generator.Verbs;
using Conformance.Mutants;

IReadOnlyList<Mutant> all;
try
{
    all = Mutant.Load();
}
catch (SyntaxException e)
{
    Console.Error.WriteLine(e.Message);
    return ExitCodes.Usage;
}
// ipvs-generator-mutant list: what mutants there are, as JSON. ipvs-generator-mutant ID ARGUMENTS: the generator with that fault.
if (args is ["list"])
{
    using var output = Console.OpenStandardOutput();
    using var writer = new Utf8JsonWriter(output, new JsonWriterOptions { Indented = true });
    writer.WriteStartArray();
    foreach (var mutant in all)
    {
        writer.WriteStartObject();
        writer.WriteString("id", mutant.Id);
        writer.WriteString("what", mutant.What);
        writer.WriteString("equivalent", mutant.Equivalent);
        writer.WriteEndObject();
    }
    writer.WriteEndArray();
    return ExitCodes.Ok;
}
if (args.Length < 2 || all.FirstOrDefault(m => m.Id == args[0]) is not { } chosen)
{
    Console.Error.WriteLine($"""
        There is no mutant '{args.FirstOrDefault()}', or no verb for it.
          evidence: {(args.Length < 2 ? "two arguments are needed" : "its id is not in harness/Mutants/mutants.yaml")}
          consequence: nothing was done
          fix: ipvs-generator-mutant list names all, ipvs-generator-mutant ID VERB runs one
        """);
    return ExitCodes.Usage;
}
var (ports, arguments) = (chosen.Fault, args[1..]);
await ports.BeginAsync(arguments);
return await CommandLine.RunAsync(ports.Change(arguments), ports);
