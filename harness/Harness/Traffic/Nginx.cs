using CliWrap;
using Conformance.Harness.Labs;
using Conformance.Kernel.Tables;
using Shouldly;

namespace Conformance.Harness.Traffic;

/// <summary>nginx in a node, for flows in which a person expects the real thing. Its files are in the run's folder.</summary>
public sealed class Nginx : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop;
    private readonly Task _running;
    private int _disposed;

    private Nginx(Task running, CancellationTokenSource stop) => (_running, _stop) = (running, stop);

    internal static async Task<Nginx> StartAsync(Node node, int port)
    {
        var folder = Directory.CreateDirectory(Path.Combine(RunFolder.Current, "nginx", $"{node.Name}-{Guid.NewGuid():N}")).FullName;
        var config = Path.Combine(folder, "nginx.conf");
        await File.WriteAllTextAsync(config, $$"""
            daemon off;
            master_process off;
            pid {{folder}}/pid;
            error_log {{folder}}/error.log;
            events { worker_connections 64; }
            http {
                access_log {{folder}}/access.log;
                client_body_temp_path {{folder}}; proxy_temp_path {{folder}}; fastcgi_temp_path {{folder}};
                uwsgi_temp_path {{folder}}; scgi_temp_path {{folder}};
                server {
                    listen {{port}};
                    location / { return 200 "{{node.Name}} $remote_addr:$remote_port\n"; }
                }
            }
            """);
        var command = node.Command("nginx", "-c", config, "-e", Path.Combine(folder, "error.log"));
        node.Lab.Note(node, $"start nginx on port {port}");
        var error = new System.Text.StringBuilder();
        var stop = new CancellationTokenSource();
        var running = command.ToCliWrap()
            .WithStandardErrorPipe(PipeTarget.ToStringBuilder(error))
            .WithValidation(CommandResultValidation.None)
            .ExecuteAsync(stop.Token).Task;
        var nginx = new Nginx(running, stop);
        try
        {
            await Eventually.Async($"nginx listens on port {port}", () => ListeningSockets.Tcp(node.Namespace), ports => running.IsCompleted || ports.Contains(port));
            if (!running.IsCompleted)
                return nginx;
        }
        catch (ShouldAssertException)
        {
            // The harness's own server is not what is tested: this is no verdict.
        }
        await nginx.DisposeAsync();
        throw new CommandFailedException(command, exitCode: null, $"nginx does not listen on port {port}: {error}");
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _stop.CancelAsync();
        try
        {
            await _running;
        }
        catch (OperationCanceledException)
        {
            // killed, as asked for
        }
        _stop.Dispose();
    }
}
