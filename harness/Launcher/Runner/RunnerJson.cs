using System.Text.Json.Serialization;

namespace Conformance.Launcher.Runner;

/// <summary>Serialisation without reflection, which is slow to start in a lab kernel.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(RunnerEvent))]
internal sealed partial class RunnerJson : JsonSerializerContext;
