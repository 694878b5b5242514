using System.Buffers.Binary;

namespace Conformance.Linux.Netlink;

/// <summary>Generic netlink: families that are found by name (linux/genetlink.h).</summary>
internal static class GenericNetlink
{
    internal const int HeaderLength = 4;
    private const ushort GENL_ID_CTRL = 0x10;
    private const byte CTRL_CMD_GETFAMILY = 3;
    private const ushort CTRL_ATTR_FAMILY_ID = 1;
    private const ushort CTRL_ATTR_FAMILY_NAME = 2;

    /// <summary>struct genlmsghdr: command, version, two reserved bytes.</summary>
    internal static uint Header(byte command, byte version = 1) => command | ((uint)version << 8);

    /// <summary>The number of a family. The kernel loads the family's module when it can.</summary>
    /// <exception cref="KernelException">There is no such family (ENOENT).</exception>
    internal static ushort ResolveFamily(NetlinkSocket socket, string name)
    {
        var request = new NetlinkRequest(GENL_ID_CTRL).Fixed(Header(CTRL_CMD_GETFAMILY)).Attribute(CTRL_ATTR_FAMILY_NAME, name);
        var answer = socket.Query($"find the generic netlink family {name}", request);
        var id = new NetlinkAttributes(answer[0].Payload[HeaderLength..]).Find(CTRL_ATTR_FAMILY_ID)!.Value;
        return BinaryPrimitives.ReadUInt16LittleEndian(id.Span);
    }
}
