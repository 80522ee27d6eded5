package pipeline

import (
	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// expects reports whether a peer may send a payload of n bytes for m now, and
// counts it as held: outputs until they are taken, steps of an edge through the
// client until the receiver returns the credit.
func (s *Session) expects(from inference.PeerID, m wire.Message, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.chain) - 1
	switch m := m.(type) {
	case *wire.Output:
		return last >= 0 && s.chain[last] == from && m.Epoch == s.current && s.hold(last+1, n)
	case *wire.Step:
		return m.Hop > 0 && int(m.Hop) <= last && s.chain[m.Hop-1] == from && m.Epoch == s.current && s.hold(int(m.Hop), n)
	}
	return false
}

// hold counts n bytes against the window of a receiver; s.mu is held.
func (s *Session) hold(hop, n int) bool {
	if s.held[hop]+int64(n) > s.windowBytes() {
		return false
	}
	s.held[hop] += int64(n)
	return true
}

func (s *Session) hopIs(i int, peer inference.PeerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return i < len(s.chain) && s.chain[i] == peer
}

// unhold returns n bytes to the window of a receiver in an epoch.
func (s *Session) unhold(epoch inference.Epoch, hop int, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch == s.current && hop < len(s.held) {
		s.held[hop] -= int64(min(n, uint64(s.held[hop])))
	}
}

// receive takes a frame from a link's reader; it must not block.
func (s *Session) receive(from inference.PeerID, f *wire.Frame) {
	switch m := f.Message.(type) {
	case *wire.Step:
		s.count(from, m)
		s.pass(from, m.Hop, int(m.Hop), f)
		return
	case *wire.Credit:
		if m.Hop > 0 {
			if s.hopIs(int(m.Hop), from) {
				s.unhold(m.Epoch, int(m.Hop), m.Bytes)
			}
			s.pass(from, m.Hop, int(m.Hop)-1, f)
			return
		}
	case *wire.Receipt:
		s.receipt(from, &m.Receipt)
	case *wire.Progress:
		if e := s.p.parts.Events.Progress; e != nil {
			e(s.id, *m)
		}
	}
	if !s.box.put(event{from: from, frame: f}) {
		f.Release()
	}
}

// count notes a step of an edge that runs through the client.
func (s *Session) count(from inference.PeerID, m *wire.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := int(m.Hop); m.Epoch == s.current && i > 0 && i < len(s.chain) && s.chain[i-1] == from {
		s.passed[i] = max(s.passed[i], m.Seq)
	}
}

// came returns the last step that came to the client for hop i.
func (s *Session) came(i int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.passed[i], s.seq)
}

// pass sends a frame of an edge that runs through the client on: a step to hop
// to, which is the one it names, or a credit back to the hop before that.
func (s *Session) pass(from inference.PeerID, named uint8, to int, f *wire.Frame) {
	s.mu.Lock()
	chain := s.chain
	s.mu.Unlock()
	sender := int(named) - 1
	if to != int(named) {
		sender = int(named)
	}
	if sender < 0 || sender >= len(chain) || chain[sender] != from || to >= len(chain) {
		f.Release()
		return
	}
	if err := s.p.parts.Links.Send(chain[to], f); err != nil {
		s.lost(chain[to], err)
	}
}

// lost tells the session that a peer is gone.
func (s *Session) lost(peer inference.PeerID, err error) {
	s.box.put(event{from: peer, err: err})
}
