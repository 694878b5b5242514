namespace Conformance.Linux.Processes;

/// <summary>
/// A program was not started: it does not exist (ENOENT), may not be executed (EACCES), or the kernel has no room for a process (EAGAIN).
/// </summary>
/// <param name="program">As it was asked for.</param>
/// <param name="errno">The error number, as in errno(3), positive; source: execve(2).</param>
public sealed class StartException(string program, int errno) : KernelException($"start {program}", errno);
