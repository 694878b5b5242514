using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Conformance.Clusters.Kubernetes;

/// <summary>A request that the API refuses.</summary>
/// <param name="status">The status of HTTP.</param>
/// <param name="reason">The word for programs (StatusReason in apimachinery/pkg/apis/meta/v1/types.go).</param>
internal sealed class ApiRefusal(int status, string reason, string message) : Exception(message)
{
    internal int Status => status;

    internal string Reason => reason;
}

/// <summary>Answers in JSON, the only form that this API server has.</summary>
internal static class ApiAnswer
{
    internal static async Task WriteAsync(HttpContext context, ReadOnlyMemory<byte> json, int status = StatusCodes.Status200OK)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = json.Length;
        await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }

    internal static Task WriteAsync(HttpContext context, JsonNode json) =>
        WriteAsync(context, JsonSerializer.SerializeToUtf8Bytes(json));

    internal static Task RefuseAsync(HttpContext context, ApiRefusal refusal) =>
        WriteAsync(context, Status(refusal), refusal.Status);

    /// <summary>The object that tells of a failure.</summary>
    internal static byte[] Status(ApiRefusal refusal) => JsonSerializer.SerializeToUtf8Bytes(new JsonObject
    {
        ["kind"] = "Status",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject(),
        ["status"] = "Failure",
        ["message"] = refusal.Message,
        ["reason"] = refusal.Reason,
        ["code"] = refusal.Status,
    });

    /// <summary>
    /// Whether a client takes plain JSON. Clients that would rather have protobuf, tables or aggregated discovery name JSON as well, and
    /// get it; those that do not are refused, as by a server without these forms.
    /// </summary>
    internal static bool IsJsonWelcome(string accept) => accept.Length == 0 || accept.Split(',').Any(form =>
    {
        var words = form.Split(';', StringSplitOptions.TrimEntries);
        return words[0] is "application/json" or "application/*" or "*/*"
            && !words.Any(w => w.StartsWith("as=", StringComparison.Ordinal));
    });
}
