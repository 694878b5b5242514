using Conformance.Labs;

namespace Conformance.Traffic;

/// <summary>What a node asks: each method starts one flow from it, waits for the outcome, and keeps the flow for the record.</summary>
public static class NodeTraffic
{
    extension(Node node)
    {
        /// <summary>The flows that were started here, oldest first.</summary>
        public IReadOnlyList<Flow> Flows => node.Client().Flows;

        /// <inheritdoc cref="Client.ConnectAsync(string, int)"/>
        public Task<Flow> ConnectAsync(string target, int sourcePort = 0) => node.Client().ConnectAsync(target, sourcePort);

        /// <inheritdoc cref="Client.AskAsync"/>
        public Task<Flow> AskAsync(string target, int sourcePort = 0) => node.Client().AskAsync(target, sourcePort);

        /// <inheritdoc cref="Client.ConnectSctpAsync"/>
        public Task<Flow> ConnectSctpAsync(string target) => node.Client().ConnectSctpAsync(target);

        /// <inheritdoc cref="Client.AskSctpAsync"/>
        public Task<Flow> AskSctpAsync(string target) => node.Client().AskSctpAsync(target);

        /// <inheritdoc cref="Client.AskHttpAsync"/>
        public Task<Flow> AskHttpAsync(string target, int sourcePort = 0) => node.Client().AskHttpAsync(target, sourcePort);

        /// <inheritdoc cref="Client.CountAnswersAsync"/>
        public Task<(IReadOnlyDictionary<string, int> Answers, Flow? Unanswered)> CountAnswersAsync(string target, int count) =>
            node.Client().CountAnswersAsync(target, count);

        /// <inheritdoc cref="Client.AskUdpAsync"/>
        public Task<Flow> AskUdpAsync(string target, int sourcePort = 0, int size = 0) =>
            node.Client().AskUdpAsync(target, sourcePort, size);

        /// <inheritdoc cref="Client.PingAsync"/>
        public Task<Flow> PingAsync(string target) => node.Client().PingAsync(target);

        private Client Client() => node.Part(n => new Client(n));
    }
}
