package pipeline

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/payment/pricing"
)

// NetworkInfo is a view of the network: what is served, and by whom.
type NetworkInfo struct {
	Models []ModelInfo `json:"models"`
	Nodes  []NodeInfo  `json:"nodes"`
}

// ModelInfo is one model of the network.
type ModelInfo struct {
	Model  inference.ModelID `json:"model"`
	Digest inference.Digest  `json:"digest"`
	Blocks int               `json:"blocks"` // of the whole model
	// Coverage is, for each block, how many nodes serve it.
	Coverage []int `json:"coverage"`
	// Missing lists the ranges that nobody serves, "10:20".
	Missing []string `json:"missing"`
	Nodes   int      `json:"nodes"`
}

// NodeInfo is one node of the network.
type NodeInfo struct {
	Peer   inference.PeerID        `json:"peer"`
	Name   string                  `json:"name"`
	Model  inference.ModelID       `json:"model"`
	Digest inference.Digest        `json:"digest"`
	Blocks string                  `json:"blocks"` // "10:20"
	State  inference.NodeState     `json:"state"`
	Class  inference.NumericsClass `json:"class"`
	// Tokens per second over the blocks that the node hosts, as it measured.
	Decode  float64 `json:"decode_tok_s"`
	Prefill float64 `json:"prefill_tok_s"`
	// Queue and Sessions as the node just told; −1 when it did not answer.
	Queue    int `json:"queue"`
	Sessions int `json:"sessions"`
	// KVBytes is the node's KV cache, and KVPositions the positions of all
	// sessions together that it holds of the node's blocks, 0 for a model that
	// this client has not opened. KVFree are its free pages, of 16 positions and
	// one block, as the node just told; −1 when it did not answer.
	KVBytes     int64   `json:"kv_bytes"`
	KVPositions int     `json:"kv_positions"`
	KVFree      int     `json:"kv_pages_free"`
	RTT         float64 `json:"rtt_ms"` // 0: unmeasured
	// Price in USD per 1M decoded tokens over all blocks of the model, at the
	// development rate.
	Price   float64  `json:"price_usd_per_1m"`
	Score   float64  `json:"score"`
	Version string   `json:"version"`
	Addrs   []string `json:"addrs"`
}

// Network returns what the client knows of the network now, with the load that
// nodes tell within wait.
func (c *Client) Network(ctx context.Context, wait time.Duration) NetworkInfo {
	records := c.node.AllRecords()
	var peers []inference.PeerID
	for _, r := range records {
		if r.State == inference.StateServing && len(peers) < 64 {
			peers = append(peers, r.Peer)
		}
	}
	loads := map[inference.PeerID]inference.Load{}
	if wait > 0 {
		loads = c.exchange.Loads(ctx, peers, wait)
	}
	pages := map[inference.Digest]func(inference.NumericsClass) int64{}
	c.mu.Lock()
	for _, p := range c.pipelines {
		pages[p.parts.Digest] = p.parts.PageBytes
	}
	c.mu.Unlock()
	info := NetworkInfo{Models: []ModelInfo{}, Nodes: []NodeInfo{}}
	for _, r := range records {
		n := NodeInfo{
			Peer: r.Peer, Name: r.Name, Model: r.Model, Digest: r.Digest, Blocks: r.Blocks.String(),
			State: r.State, Class: r.Class, Queue: -1, Sessions: -1, KVFree: -1, KVBytes: r.Memory, Version: r.Version, Addrs: r.Addrs,
			RTT: float64(c.node.RTT(r.Peer)) / 1e6, Score: c.ratings.For(r.Digest).Score(r.Peer),
		}
		n.Decode, n.Prefill = r.Rates.PerSecond(r.Blocks)
		if l, ok := loads[r.Peer]; ok {
			n.Queue, n.Sessions, n.KVFree = l.Queue, l.Sessions, l.FreePages
		}
		if of := pages[r.Digest]; of != nil && of(r.Class) > 0 {
			n.KVPositions = int(r.Memory/of(r.Class)) / r.Blocks.Len() * model.PagePositions
		}
		whole := inference.BlockRange{Start: 0, End: r.Total}
		if w, ok := pricing.PerMillion(pricing.Hop{Quote: r.Quote, Blocks: whole.Len()}); ok {
			n.Price = pricing.ToUSD(w)
		}
		info.Nodes = append(info.Nodes, n)
		info.add(r)
	}
	slices.SortFunc(info.Nodes, func(a, b NodeInfo) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Blocks, b.Blocks), cmp.Compare(a.Peer, b.Peer))
	})
	for i := range info.Models {
		info.Models[i].gaps()
	}
	return info
}

func (n *NetworkInfo) add(r inference.NodeRecord) {
	i := slices.IndexFunc(n.Models, func(m ModelInfo) bool { return m.Digest == r.Digest })
	if i < 0 {
		n.Models = append(n.Models, ModelInfo{Model: r.Model, Digest: r.Digest, Blocks: r.Total, Coverage: make([]int, r.Total)})
		i = len(n.Models) - 1
	}
	m := &n.Models[i]
	if r.State != inference.StateServing {
		return
	}
	m.Nodes++
	for b := r.Blocks.Start; b < min(r.Blocks.End, len(m.Coverage)); b++ {
		m.Coverage[b]++
	}
}

// gaps fills Missing from Coverage.
func (m *ModelInfo) gaps() {
	m.Missing = []string{}
	for b := 0; b < len(m.Coverage); {
		if m.Coverage[b] > 0 {
			b++
			continue
		}
		start := b
		for b < len(m.Coverage) && m.Coverage[b] == 0 {
			b++
		}
		m.Missing = append(m.Missing, inference.BlockRange{Start: start, End: b}.String())
	}
}
