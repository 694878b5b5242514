using Conformance.Linux;

namespace Conformance.Labs;

/// <summary>The harness could not do its own work, which says nothing about what is under test: what, evidence, consequence, fix.</summary>
public class HarnessException(string what, string evidence, string consequence, string fix)
    : FourPartException(what, evidence, consequence, fix);
