package stage

import (
	"crypto/subtle"
	"hash/maphash"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

var hashSeed = maphash.MakeSeed()

// admits reports whether a step of this peer is taken: nil if it is, a Fail
// without a code if it is to be dropped without a word.
func (e *session) admits(from inference.PeerID, m *wire.Step) *wire.Fail {
	r := &e.route
	switch {
	case from != e.client.id && (from != r.Prev || from == ""):
		return refuse(wire.CodeForbidden, "not a peer that sends steps of this session")
	case m.Epoch != r.Epoch, e.failed, e.next != nil:
		return &wire.Fail{} // of an epoch that is over, or not begun
	case subtle.ConstantTimeCompare(m.Cap[:], r.In[:]) != 1:
		return refuse(wire.CodeForbidden, "wrong capability")
	case m.Hop != r.Hop:
		return refuse(wire.CodeBadRequest, "step for hop %d, this is %d", m.Hop, r.Hop)
	}
	return nil
}

// check says what is wrong with a step, apart from what depends on branches.
func (s *Stage) check(e *session, m *wire.Step, payload int) *wire.Fail {
	r := &e.route
	if err := m.CheckPayload(payload, s.cfg.Span.Hidden(), r.Wire); err != nil {
		return refuse(wire.CodeBadRequest, "%v", err)
	}
	if m.Payload == wire.PayloadIDs && !r.ids {
		return unsupported("ids")
	}
	if m.Seq == 0 || m.Seq > e.received+maxAhead {
		return refuse(wire.CodeBadRequest, "step %d after %d", m.Seq, e.received)
	}
	for i := range m.Rows {
		row := &m.Rows[i]
		if row.Start+row.N > r.Limits.Positions {
			return refuse(wire.CodeLimit, "position %d, the session has %d", row.Start+row.N, r.Limits.Positions)
		}
		if row.Line == inference.LineCached {
			return refuse(wire.CodeBadRequest, "rows that are computed cannot be billed as cached")
		}
		for j := range i {
			if m.Rows[j].Branch == row.Branch {
				return refuse(wire.CodeBadRequest, "two row groups of branch %d", row.Branch)
			}
		}
	}
	return nil
}

// hash tells a step from another with the same number.
func hash(m *wire.Step, payload []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	for i := range m.Ops {
		maphash.WriteComparable(&h, m.Ops[i])
	}
	for i := range m.Rows {
		maphash.WriteComparable(&h, m.Rows[i])
	}
	h.Write(payload)
	return h.Sum64()
}

// step takes a step that has arrived, with its payload.
func (s *Stage) step(from inference.PeerID, m *wire.Step, payload tensor.Buffer, now time.Time) {
	n := int64(len(payload.Data))
	sum := hash(m, payload.Data)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sessions[m.Session]
	if e == nil {
		payload.Release()
		if n == 0 { // else Reserve has said so, or the session ended meanwhile
			s.unknown(from, m.Session, m.Epoch)
		}
		return
	}
	if f := e.admits(from, m); f != nil {
		payload.Release()
		if f.Code != 0 && n == 0 {
			s.reply(from, e, m.Seq, f)
		}
		return
	}
	if n > 0 {
		e.reading[from] -= n
	}
	e.active, e.worked = now, now
	if from == e.client.id {
		e.lost = time.Time{}
	}
	st := &step{m: m, payload: payload, bytes: n, from: from, arrived: now, rows: m.Positions()}
	switch old := e.find(m.Seq); {
	case old.seq == m.Seq && old.hash != sum:
		s.giveUp(e, st, refuse(wire.CodeBadRequest, "two different steps %d", m.Seq))
		return
	case old.seq == m.Seq, m.Seq != 0 && m.Seq <= e.received:
		payload.Release()
		s.consumed(e, from, n)
		return
	}
	f := s.check(e, m, int(n))
	if f == nil {
		f = s.admit(e, st)
	}
	if f != nil {
		s.giveUp(e, st, f)
		return
	}
	e.recent[m.Seq%maxRecent] = seen{m.Seq, sum}
	s.pending += st.rows
	e.client.pending += st.rows
	e.ahead[m.Seq] = st
	for {
		next := e.ahead[e.received+1]
		if next == nil {
			break
		}
		e.received++
		delete(e.ahead, e.received)
		e.queue = append(e.queue, next)
	}
	s.list(e)
	s.kick()
}

// find returns what is remembered in the place of seq.
func (e *session) find(seq uint64) seen { return e.recent[seq%maxRecent] }

// giveUp refuses a step, which ends the epoch: later ones build on it.
func (s *Stage) giveUp(e *session, st *step, f *wire.Fail) {
	st.payload.Release()
	s.fail(e, st.m.Seq, f)
}

// admit keeps the queue within its bounds and one client from filling it.
func (s *Stage) admit(e *session, st *step) *wire.Fail {
	limit := s.cfg.Limits.MaxPending
	if s.pending+st.rows > limit || e.client.pending+st.rows > max(limit/2, min(limit, wire.MaxStepRows)) {
		f := refuse(wire.CodeBusy, "%d rows wait", s.pending)
		f.RetryAfter = s.retryAfter()
		return f
	}
	if len(e.queue) >= maxQueue {
		return refuse(wire.CodeLimit, "%d steps wait", len(e.queue))
	}
	out := int64(emits(st.m, e.route.last) * s.cfg.Span.Hidden() * e.route.Wire.Bytes())
	if out > e.route.window {
		return refuse(wire.CodeLimit, "the step makes %d bytes, the window is %d: send fewer rows", out, e.route.window)
	}
	return nil
}

// retryAfter guesses when half the queue will be done, milliseconds.
func (s *Stage) retryAfter() uint32 {
	ms := s.rates.prefill * float64(s.pending) * float64(s.cfg.Span.Blocks().Len()) / 2
	return uint32(min(max(ms, 100), 30000))
}

// consumed notes that the payload of a step is no longer held, and returns
// credit to its sender, at once when it is much. s.mu is held.
func (s *Stage) consumed(e *session, from inference.PeerID, n int64) {
	if n == 0 {
		return
	}
	e.owed[from] += n
	if e.owed[from] >= e.route.window/8 {
		s.returnCredit(e, from)
		return
	}
	s.list(e)
}

func (s *Stage) returnCredit(e *session, to inference.PeerID) {
	n := e.owed[to]
	delete(e.owed, to)
	if n == 0 {
		return
	}
	e.unacked -= n
	s.send(to, &wire.Credit{Session: e.id, Epoch: e.route.Epoch, Hop: e.route.Hop, Bytes: uint64(n)})
}
