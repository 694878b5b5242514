using System.Net;
using System.Net.Sockets;
using Conformance.Linux.Links;
using Conformance.Linux.Namespaces;
using Conformance.Traffic;

namespace Conformance.KernelTests;

public sealed class NetworkNamespaceTests
{
    [Test]
    public void Work_runs_inside_and_the_caller_stays_outside()
    {
        using var ns = NetworkNamespace.Create("test");

        var inside = ns.Run(() => new FileInfo("/proc/thread-self/ns/net").LinkTarget);

        inside.ShouldBe($"net:[{ns.Inode}]");
        new FileInfo("/proc/thread-self/ns/net").LinkTarget.ShouldBe($"net:[{NetworkNamespace.RootInode}]");
    }

    [Test]
    public void Visits_nest_and_come_back()
    {
        using var outer = NetworkNamespace.Create("outer");
        using var inner = NetworkNamespace.Create("inner");

        var seen = outer.Run(() =>
        {
            var first = inner.Run(() => new FileInfo("/proc/thread-self/ns/net").LinkTarget);
            return (first, new FileInfo("/proc/thread-self/ns/net").LinkTarget);
        });

        seen.ShouldBe(($"net:[{inner.Inode}]", $"net:[{outer.Inode}]"));
    }

    [Test]
    public void An_exception_passes_through_and_the_next_visit_works()
    {
        using var ns = NetworkNamespace.Create("test");

        Should.Throw<InvalidDataException>(() => ns.Run((Action)(() => throw new InvalidDataException("from inside")))).Message.ShouldBe(
            "from inside");

        ns.Run(() => 1).ShouldBe(1);
    }

    [Test]
    public void A_disposed_namespace_cannot_be_entered()
    {
        var ns = NetworkNamespace.Create("test");
        ns.Dispose();
        ns.Dispose();

        Should.Throw<ObjectDisposedException>(() => ns.Run(() => 1));
    }

    [Test]
    public async Task A_socket_keeps_its_namespace_when_it_is_awaited_outside()
    {
        using var ns = NetworkNamespace.Create("test");
        using (var route = new RouteSocket(ns))
            route.SetLink("lo");
        using var listener = ns.Run(() =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            socket.Listen();
            return socket;
        });
        using var inside = ns.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        using var outside = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

        await inside.ConnectAsync(listener.LocalEndPoint!);
        (await Should.ThrowAsync<SocketException>(() => outside.ConnectAsync(listener.LocalEndPoint!))).SocketErrorCode.ShouldBe(
            SocketError.ConnectionRefused);
    }

    [Test]
    public void What_holds_a_namespace_is_found_and_named()
    {
        using var ns = NetworkNamespace.Create("test");
        NamespaceUse.HoldersOf([ns]).ShouldBeEmpty();

        using (ns.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp)))
            NamespaceUse.HoldersOf([ns]).ShouldHaveSingleItem().ShouldStartWith("socket ");

        NamespaceUse.HoldersOf([ns]).ShouldBeEmpty();
    }
}
