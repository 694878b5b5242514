using System.Text;

namespace CliWrap;

/// <summary>Where a command's standard input comes from.</summary>
public abstract class PipeSource
{
    public static PipeSource Null { get; } = FromStream(Stream.Null);

    public abstract Task CopyToAsync(Stream destination, CancellationToken cancellationToken = default);

    public static PipeSource FromStream(Stream stream) => new StreamSource(stream);

    public static PipeSource FromString(string text) => new StreamSource(new MemoryStream(Encoding.UTF8.GetBytes(text)));

    private sealed class StreamSource(Stream source) : PipeSource
    {
        public override Task CopyToAsync(Stream destination, CancellationToken cancellationToken = default) =>
            source.CopyToAsync(destination, cancellationToken);
    }
}

/// <summary>Where a command's standard output or error goes.</summary>
public abstract class PipeTarget
{
    public static PipeTarget Null { get; } = ToStream(Stream.Null);

    public abstract Task CopyFromAsync(Stream source, CancellationToken cancellationToken = default);

    public static PipeTarget ToStream(Stream stream) => new StreamTarget(stream);

    public static PipeTarget ToStringBuilder(StringBuilder builder) => new StringTarget(builder);

    /// <summary>Calls back with every line.</summary>
    public static PipeTarget ToDelegate(Action<string> handleLine) => new LineTarget(handleLine);

    private sealed class LineTarget(Action<string> handleLine) : PipeTarget
    {
        public override async Task CopyFromAsync(Stream source, CancellationToken cancellationToken = default)
        {
            using var reader = new StreamReader(source, Encoding.UTF8);
            while (await reader.ReadLineAsync(cancellationToken) is { } line)
                handleLine(line);
        }
    }

    private sealed class StreamTarget(Stream target) : PipeTarget
    {
        public override async Task CopyFromAsync(Stream source, CancellationToken cancellationToken = default)
        {
            var buffer = new byte[16 * 1024];
            int count;
            while ((count = await source.ReadAsync(buffer, cancellationToken)) > 0)
            {
                await target.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
                await target.FlushAsync(cancellationToken);
            }
        }
    }

    private sealed class StringTarget(StringBuilder builder) : PipeTarget
    {
        public override async Task CopyFromAsync(Stream source, CancellationToken cancellationToken = default)
        {
            using var reader = new StreamReader(source, Encoding.UTF8);
            var buffer = new char[16 * 1024];
            int count;
            while ((count = await reader.ReadAsync(buffer, cancellationToken)) > 0)
                builder.Append(buffer, 0, count);
        }
    }
}
