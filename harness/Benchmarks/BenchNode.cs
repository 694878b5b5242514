using System.Globalization;
using System.Net;
using System.Text;
using Conformance.Generator.Sources;
using Conformance.Labs;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;

namespace Conformance.Benchmarks;

/// <summary>What the generator's benchmarks run on: a node alone in its namespace, and manifests of any size.</summary>
internal static class BenchNode
{
    internal const int Endpoints = 5;

    internal static NetworkNamespace NewNamespace()
    {
        var ns = NetworkNamespace.Create("bench");
        using var route = new RouteSocket(ns);
        route.SetLink("lo");
        route.AddDummy("eth0");
        route.SetLink("eth0");
        route.AddAddress("eth0", IPAddress.Parse("192.168.113.101"), 24);
        return ns;
    }

    internal static CliWrap.Command Generator(NetworkNamespace ns, params string[] arguments) => CliWrap.Cli.Wrap(ns.Enter[0])
        .WithArguments([.. ns.Enter.Skip(1), ProjectFolder.Program("harness/Generator", "ipvs-generator"), .. arguments,
            "--hostname-override", "node1", "--cluster-cidr", "10.244.0.0/15"])
        .WithEnvironmentVariables(Toolbox.Environment); // with the iptables that works on this kernel, as on a node that is set up for it

    /// <summary>A list as <c>kubectl get services,endpointslices -o json</c> prints it.</summary>
    internal static string Manifest(int services)
    {
        var items = new StringBuilder();
        for (var i = 0; i < services; i++)
        {
            if (i > 0)
                items.Append(',');
            items.Append(CultureInfo.InvariantCulture, $$$"""
                {"apiVersion":"v1","kind":"Service","metadata":{"name":"s{{{i}}}","namespace":"default","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"type":"ClusterIP","clusterIP":"10.96.{{{i >> 8}}}.{{{i & 255}}}","clusterIPs":["10.96.{{{i >> 8}}}.{{{i & 255}}}"],"selector":{"app":"s{{{i}}}"},"ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":8080}]},"status":{"loadBalancer":{ } } },
                {{{Slice(i, Endpoints)}}}
                """);
        }
        return $$"""{"apiVersion":"v1","kind":"List","items":[{{items}}]}""";
    }

    internal static string Slice(int service, int endpoints)
    {
        var list = Enumerable.Range(0, endpoints).Select(j => (service * Endpoints) + j)
            .Select(k => string.Create(CultureInfo.InvariantCulture,
            $$$"""{"addresses":["10.{{{244 + (k >> 16)}}}.{{{(k >> 8) & 255}}}.{{{k & 255}}}"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"node{{{1 + (k % Endpoints == 0 ? 0 : 1)}}}","targetRef":{"kind":"Pod","name":"p{{{k}}}","namespace":"default"}}"""));
        return string.Create(CultureInfo.InvariantCulture, $$$"""
            {"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s{{{service}}}-abc","namespace":"default","labels":{"kubernetes.io/service-name":"s{{{service}}}"}},"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[{{{string.Join(',', list)}}}]}
            """);
    }
}
