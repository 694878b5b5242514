using System.Runtime.InteropServices;

namespace Conformance.Linux.Interop;

/// <summary>The C library's system-call wrappers, spelled as in their man pages (section 2). Errors are left in errno.</summary>
internal static partial class Libc
{
    internal const int O_RDONLY = 0;
    internal const int O_WRONLY = 1;
    internal const int O_CLOEXEC = 0x80000;
    internal const int LOCK_EX = 2;
    internal const int LOCK_NB = 4;
    internal const int EWOULDBLOCK = 11;
    internal const int CLONE_NEWNET = 0x40000000;

    internal const int AF_INET = 2;
    internal const int AF_INET6 = 10;
    internal const int SOCK_DGRAM = 2;
    internal const int AF_PACKET = 17;
    internal const int AF_NETLINK = 16;
    internal const int SOCK_STREAM = 1;
    internal const int SOCK_RAW = 3;
    internal const int SOCK_CLOEXEC = 0x80000;
    internal const int SOL_SOCKET = 1;
    internal const int SO_RCVBUFFORCE = 33;
    internal const int SO_TIMESTAMPNS = 35;
    internal const int SO_NETNS_COOKIE = 71;
    internal const int SOL_NETLINK = 270;
    internal const int NETLINK_ADD_MEMBERSHIP = 1;
    internal const int NETLINK_EXT_ACK = 11;
    internal const int SOL_PACKET = 263;
    internal const int PACKET_STATISTICS = 6;
    internal const int MSG_DONTWAIT = 0x40;
    internal const int MSG_TRUNC = 0x20;
    internal const short POLLIN = 1;
    internal const short POLLOUT = 4;
    internal const int F_SETFL = 4;
    internal const int O_NONBLOCK = 0x800;
    internal const int SCHED_IDLE = 5;
    internal const int SIGKILL = 9;
    internal const int SIGSTOP = 19;
    internal const uint SIOCGSKNS = 0x894C;
    internal const int RLIMIT_NOFILE = 7;
    internal const int AT_FDCWD = -100;
    internal const uint STATX_TYPE = 1;
    internal const int S_IFMT = 0xF000;
    internal const int S_IFREG = 0x8000;
    internal const int S_IFDIR = 0x4000;
    internal const int S_IFIFO = 0x1000;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int setns(int fd, int nstype);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int unshare(int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int open(string pathname, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint write(int fd, ReadOnlySpan<byte> buf, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int flock(int fd, int operation);

    /// <param name="rlim">struct rlimit: the soft limit, and behind it the hard one.</param>
    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int getrlimit(int resource, ulong* rlim);

    /// <param name="statxbuf">struct statx, of 256 bytes; stx_mode is the 16 bits at 28.</param>
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static unsafe partial int statx(int dirfd, string pathname, int flags, uint mask, byte* statxbuf);

    /// <summary>Ends the process at once, without handlers of the runtime.</summary>
    [LibraryImport("libc")]
    internal static partial void _exit(int status);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int geteuid();

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int bind(int sockfd, byte* addr, uint addrlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial nint send(int sockfd, byte* buf, nuint len, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial nint recv(int sockfd, byte* buf, nuint len, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int recvmmsg(int sockfd, mmsghdr* msgvec, uint vlen, int flags, void* timeout);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int setsockopt(int sockfd, int level, int optname, void* optval, uint optlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int getsockopt(int sockfd, int level, int optname, void* optval, uint* optlen);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int sched_setscheduler(int pid, int policy, int* param);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int poll(pollfd* fds, nuint nfds, int timeout);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int ioctl(int fd, nuint request, nuint argument);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial uint if_nametoindex(string ifname);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int pipe2(int* pipefd, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int fcntl(int fd, int cmd, int arg);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial nint read(int fd, byte* buf, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int kill(int pid, int sig);

    [LibraryImport("libc", SetLastError = true)]
    internal static unsafe partial int waitpid(int pid, int* wstatus, int options);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawn_file_actions_init(byte* file_actions);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawn_file_actions_destroy(byte* file_actions);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawn_file_actions_adddup2(byte* file_actions, int fildes, int newfildes);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    internal static unsafe partial int posix_spawn_file_actions_addopen(byte* file_actions, int fildes, string path, int oflag, uint mode);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawnattr_init(byte* attr);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawnattr_destroy(byte* attr);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawnattr_setflags(byte* attr, short flags);

    [LibraryImport("libc")]
    internal static unsafe partial int posix_spawnattr_setsigdefault(byte* attr, ulong* sigdefault);

    /// <returns>An errno, not -1.</returns>
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    internal static unsafe partial int posix_spawn(int* pid, string path, byte* file_actions, byte* attrp, nint* argv, nint* envp);

    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct iovec
    {
        internal void* iov_base;
        internal nuint iov_len;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct msghdr
    {
        internal void* msg_name;
        internal uint msg_namelen;
        internal iovec* msg_iov;
        internal nuint msg_iovlen;
        internal void* msg_control;
        internal nuint msg_controllen;
        internal int msg_flags;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct mmsghdr
    {
        internal msghdr msg_hdr;
        internal uint msg_len;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct pollfd
    {
        internal int fd;
        internal short events;
        internal short revents;
    }
}
