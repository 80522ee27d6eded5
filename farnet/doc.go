// Package farnet is FarNet: the peer-to-peer network that nodes and clients
// meet in, and the only door to libp2p.
//
// In go a [Config] and, for a node that serves, its [inference.NodeRecord].
// Out come streams of bytes to other peers ([Node.OpenStream], [Node.Handle]),
// a table of verified node records per model ([Node.Follow], [Node.Records])
// and notice of peers that died ([Node.OnPeerDown]).
//
// How peers find one another:
//
//   - a few addresses to begin with: [Config.Bootstrap], multicast DNS on the
//     local network, the peers remembered from an earlier run unless
//     [Config.Bootstrap] names others than that run had;
//   - on joining, a snapshot of the record table from up to three peers, which
//     in exchange receive the joiner's own record and pass it on;
//   - gossip of signed records, one topic per model and a slower one for all
//     models; clients stay out of the gossip and hold a subscription to up to
//     three nodes instead;
//   - one provider record per model in a Kademlia DHT, for when none of the
//     above knows a node of that model.
//
// A record is believed only when the key of the peer that it names has signed
// it, and only when its sequence is higher than any seen before. A peer that
// cannot be dialled, or does not answer pings, is a suspect: it stays out of
// [Node.Records] until it answers again.
//
// A [Node] owns its host, its goroutines and every stream; [Node.Close] ends
// them all. The package knows nothing of tensors, tokens, prices or sessions;
// it carries the price fields of a record without reading them.
package farnet
