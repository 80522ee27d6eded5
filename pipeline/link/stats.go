package link

import (
	"sync/atomic"

	"github.com/farlabs/inference"
)

// Flow counts one direction of the traffic with a peer.
type Flow struct {
	Frames  uint64
	Header  uint64 // bytes of frames without payloads, lengths included
	Payload uint64 // bytes
}

// Stats counts the traffic with a peer since the Mux has known it, over all its
// links.
type Stats struct {
	In, Out   Flow
	Refused   uint64 // frames whose payload the handler refused
	Malformed uint64 // links ended for bytes that are no frame
	Links     uint64 // begun
	Writes    uint64 // calls of Write that carried frames
	Queued    int64  // bytes waiting to be written
}

type flow struct{ frames, header, payload atomic.Uint64 }

func (f *flow) add(header, payload int) {
	f.frames.Add(1)
	f.header.Add(uint64(header))
	f.payload.Add(uint64(payload))
}

func (f *flow) flow() Flow { return Flow{f.frames.Load(), f.header.Load(), f.payload.Load()} }

type counters struct {
	in, out                           flow
	refused, malformed, links, writes atomic.Uint64
}

// Stats returns the counts of peer, zeros for one never seen.
func (m *Mux) Stats(peer inference.PeerID) Stats {
	m.mu.Lock()
	c, l := m.stats[peer], m.links[peer]
	m.mu.Unlock()
	if c == nil {
		return Stats{}
	}
	s := Stats{
		In: c.in.flow(), Out: c.out.flow(), Refused: c.refused.Load(),
		Malformed: c.malformed.Load(), Links: c.links.Load(), Writes: c.writes.Load(),
	}
	if l != nil {
		l.mu.Lock()
		s.Queued = l.queued + l.control
		l.mu.Unlock()
	}
	return s
}

// Peers returns the peers with which there is a link, up or being dialled.
func (m *Mux) Peers() []inference.PeerID {
	m.mu.Lock()
	defer m.mu.Unlock()
	peers := make([]inference.PeerID, 0, len(m.links))
	for p := range m.links {
		peers = append(peers, p)
	}
	return peers
}
