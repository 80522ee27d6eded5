package node

import "github.com/farlabs/inference"

// Event is something that a node tells whoever started it. With --json each is
// one line on standard output; else the command prints it for people.
type Event struct {
	Event string `json:"event"` // one of the names below

	Name    string           `json:"name,omitempty"`
	Version string           `json:"version,omitempty"`
	Peer    inference.PeerID `json:"peer,omitempty"`
	Addrs   []string         `json:"addrs,omitempty"` // full multiaddrs that --bootstrap takes
	Metrics string           `json:"metrics,omitempty"`

	Peers   int               `json:"peers,omitempty"`   // nodes of the network that are connected
	Serving int               `json:"serving,omitempty"` // of those, nodes that serve this model
	Alone   bool              `json:"alone,omitempty"`   // this node starts its own network
	Model   inference.ModelID `json:"model,omitempty"`
	Digest  string            `json:"digest,omitempty"`
	Blocks  string            `json:"blocks,omitempty"` // "10:20"
	Total   int               `json:"total_blocks,omitempty"`
	Why     string            `json:"why,omitempty"`

	Done  int64 `json:"done,omitempty"` // bytes
	Bytes int64 `json:"bytes,omitempty"`

	WeightBytes int64   `json:"weight_bytes,omitempty"`
	KVBytes     int64   `json:"kv_bytes,omitempty"`
	DecodeRate  float64 `json:"decode_tok_s,omitempty"`  // over the hosted blocks
	PrefillRate float64 `json:"prefill_tok_s,omitempty"` // over the hosted blocks

	Sessions int `json:"sessions,omitempty"`
}

// The events, in the order in which they come.
const (
	EventListening = "listening" // Name, Version, Peer, Addrs, Metrics
	EventHashing   = "hashing"   // Model, Done, Bytes; many times, the first time a file is seen
	EventJoined    = "joined"    // Peers, Serving, Alone; Why when no bootstrap address answered
	EventBlocks    = "blocks"    // Blocks, Total, Why: what it is going to host
	EventPacking   = "packing"   // Done, Bytes of the weights; many times, the first time blocks are hosted
	EventLoading   = "loading"   // Done, Bytes of the weights; many times
	EventServing   = "serving"   // Model, Digest, Blocks, Total, WeightBytes, KVBytes, rates
	EventLeaving   = "leaving"   // Sessions that go on elsewhere
	EventStopped   = "stopped"
)
