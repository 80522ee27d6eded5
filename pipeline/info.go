package pipeline

import (
	"strings"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// RouteInfo describes the route that a session has now.
type RouteInfo struct {
	Session string          `json:"session"`
	Epoch   inference.Epoch `json:"epoch"`
	Hops    []HopInfo       `json:"hops"`
}

// HopInfo is one hop of a route.
type HopInfo struct {
	Peer   inference.PeerID `json:"peer"`
	Name   string           `json:"name"`
	Blocks string           `json:"blocks"`
	// Direct says that the hop sends to the next one itself; for the last hop,
	// whose next is the client, always true.
	Direct bool `json:"direct"`
	// Of the last step: how long it waited at the hop, and the forward pass.
	Wait    time.Duration `json:"wait_ns"`
	Compute time.Duration `json:"compute_ns"`
	// Gap is from the end of the forward pass at the hop before to the start
	// of the one here, meaningful where the clocks agree; 0 for the first hop.
	Gap time.Duration `json:"gap_ns"`
}

// String returns "name …peer 0:10 → name …peer 10:20"; "⇢" marks an edge that
// runs through the client.
func (r RouteInfo) String() string {
	var b strings.Builder
	for i, h := range r.Hops {
		if i > 0 {
			b.WriteString(map[bool]string{true: " → ", false: " ⇢ "}[r.Hops[i-1].Direct])
		}
		if h.Name != "" {
			b.WriteString(h.Name + " ")
		}
		b.WriteString(h.Peer.Short() + " " + h.Blocks)
	}
	return b.String()
}

// Route returns the session's current route with the timings of its last step.
func (s *Session) Route() RouteInfo {
	r := RouteInfo{Session: s.id.String(), Epoch: s.epoch, Hops: make([]HopInfo, len(s.hops))}
	for i, h := range s.hops {
		r.Hops[i] = HopInfo{
			Peer: h.Peer(), Name: h.Offer.Record.Name, Blocks: h.Blocks.String(),
			Direct: h.direct || i == len(s.hops)-1,
		}
		if len(s.timings) == len(s.hops) {
			r.Hops[i].time(s.timings, i)
		}
	}
	return r
}

func (h *HopInfo) time(times []wire.HopTime, i int) {
	t := times[i]
	h.Wait = time.Duration(t.Wait) * time.Microsecond
	h.Compute = time.Duration(t.Compute) * time.Microsecond
	if i > 0 {
		p := times[i-1]
		end := p.Arrived + uint64(p.Wait) + uint64(p.Compute)
		h.Gap = time.Duration(int64(t.Arrived+uint64(t.Wait))-int64(end)) * time.Microsecond
	}
}
