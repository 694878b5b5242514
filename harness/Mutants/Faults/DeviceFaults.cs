using System.Net;
using System.Net.Sockets;
using Conformance.Generator.Documents;
using Conformance.Generator.Sync;

namespace Conformance.Mutants.Faults;

/// <summary>Addresses are not bound to kube-ipvs0.</summary>
internal sealed class MissingAddresses(Families families) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step is Bind bind
        ? bind with { Items = [.. bind.Items.Where(a => !families.Has(a.AddressFamily == AddressFamily.InterNetworkV6))] } : step];
}

/// <summary>Addresses are bound with the prefix of a network, or as addresses that the node may send from.</summary>
internal sealed class ChangedAddresses(Families families, Action<KernelPort, IPAddress> bind) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step];

    protected override void Follow(SyncPlan plan, KernelPort kernel)
    {
        foreach (var address in plan.Steps.OfType<Bind>().SelectMany(b => b.Items)
            .Where(a => families.Has(a.AddressFamily == AddressFamily.InterNetworkV6)))
        {
            kernel.Route.DeleteAddress(DocumentSet.Device, address, address.GetAddressBytes().Length * 8);
            bind(kernel, address);
        }
    }

    /// <summary>The prefix of a subnet.</summary>
    internal static void AsNetwork(KernelPort kernel, IPAddress address) =>
        kernel.Route.AddAddress(DocumentSet.Device, address, address.AddressFamily == AddressFamily.InterNetworkV6 ? 64 : 24);

    /// <summary>A source for packets that no other rule gives one.</summary>
    internal static void AsSource(KernelPort kernel, IPAddress address) =>
        kernel.Route.AddHostAddresses(DocumentSet.Device, [address], isSource: true);
}

/// <summary>The device has another state than the generator gives it.</summary>
internal sealed class ChangedDevice(bool isUp) : StepFault
{
    protected override IEnumerable<Step> Change(Step step) => [step];

    protected override void Follow(SyncPlan plan, KernelPort kernel)
    {
        if (plan.Steps.Any(s => s is AddDevice))
            kernel.Route.SetLink(DocumentSet.Device, isUp);
    }
}

/// <summary>A sysctl is not set, or to another value.</summary>
/// <param name="value">Null where it is not set.</param>
internal sealed class SysctlFault(string name, string? value) : StepFault
{
    internal string Name => name;

    protected override IEnumerable<Step> Change(Step step) => step is not SetSysctl { Setting: var setting } || setting.Name != name
        ? [step] : value is null ? [] : [new SetSysctl(setting with { Value = value })];
}
