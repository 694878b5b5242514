using System.Runtime.InteropServices;

namespace Conformance.Linux;

/// <summary>The kernel refused an operation.</summary>
public class KernelException : Exception
{
    private const int MaxErrno = 4095; // above are errors of one subsystem (linux/err.h)

    /// <summary>An error of the kernel.</summary>
    /// <param name="operation">What was asked for, as text.</param>
    /// <param name="errno">The error number of errno(3), positive.</param>
    /// <param name="explanation">The kernel's own message, where it gave one.</param>
    public KernelException(string operation, int errno, string? explanation = null)
        : base(Describe(operation, errno, explanation))
    {
        Operation = operation;
        Errno = errno;
        Explanation = explanation;
    }

    /// <summary>What was asked for, in words.</summary>
    public string Operation { get; }

    /// <summary>The error number, as in errno(3), positive.</summary>
    public int Errno { get; }

    /// <summary>The kernel's own sentence (netlink extended acknowledgement), where it gave one.</summary>
    public string? Explanation { get; }

    internal static KernelException FromErrno(string operation) => new(operation, Marshal.GetLastPInvokeError());

    private static string Describe(string operation, int errno, string? explanation)
    {
        if (errno > MaxErrno)
            return $"{operation}: {explanation ?? "an error of the subsystem's own"} (errno {errno})";
        var text = $"{operation}: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})";
        return string.IsNullOrEmpty(explanation) ? text : $"{text}: {explanation}";
    }
}
