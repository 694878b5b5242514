using Conformance.Linux;
using Conformance.Linux.Sockets;

namespace Conformance.Labs;

/// <summary>nginx in a node.</summary>
internal static class Nginx
{
    internal static async Task<ServerProgram> StartAsync(Node node, int port)
    {
        var folder = ServerProgram.NewFolder(node, "nginx");
        const string scratch = NodeCommand.ScratchFolder; // nginx gives its folders to the user of its workers
        var config = Path.Combine(folder, "nginx.conf");
        await File.WriteAllTextAsync(config, $$"""
            daemon off;
            master_process off;
            pid {{folder}}/pid;
            error_log {{folder}}/error.log;
            events { worker_connections 64; }
            http {
                access_log {{folder}}/access.log;
                client_body_temp_path {{scratch}}; proxy_temp_path {{scratch}}; fastcgi_temp_path {{scratch}};
                uwsgi_temp_path {{scratch}}; scgi_temp_path {{scratch}};
                server {
                    listen {{port}};
                    location / { return 200 "{{node.Name}} $remote_addr:$remote_port\n"; }
                }
            }
            """);
        return await ServerProgram.StartAsync(node.Command("nginx", "-c", config, "-e", Path.Combine(folder, "error.log")).WithScratch(),
            port, () => ListeningSockets.Tcp(node.Namespace));
    }
}
