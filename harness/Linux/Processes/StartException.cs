namespace Conformance.Linux.Processes;

/// <summary>The kernel did not start a program: it is not there (ENOENT), may not be executed (EACCES), or is none (ENOEXEC).</summary>
/// <param name="program">As it was asked for.</param>
/// <param name="errno">The error number, as in errno(3), positive; source: execve(2).</param>
public sealed class StartException(string program, int errno) : KernelException($"start {program}", errno);
