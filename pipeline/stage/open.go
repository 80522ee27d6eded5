package stage

import (
	"context"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

// opens takes an Open: it begins a session or moves one to a new route. What
// waits for the disk or the network goes to the session's clerk, which answers.
func (s *Stage) opens(from inference.PeerID, m *wire.Open, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sessions[m.Session]
	no := func(f *wire.Fail) {
		f.Session, f.Epoch, f.Hop = m.Session, m.Epoch, m.Hop
		s.send(from, f)
	}
	if e != nil && e.client.id != from {
		no(refuse(wire.CodeForbidden, "the session belongs to another peer"))
		return
	}
	if e != nil {
		e.active, e.lost = now, time.Time{}
		latest := e.route.Epoch
		if e.next != nil {
			latest = e.next.Epoch
		}
		if m.Epoch < latest {
			return
		}
		if m.Epoch == latest {
			if e.open && !e.failed && e.next == nil {
				s.opened(e, nil)
			}
			return
		}
	}
	r, f := s.negotiate(m, now)
	c := s.clients[from] // nil before its first session
	if f == nil && e == nil {
		f = s.place(c)
	}
	if f == nil {
		f = s.room(c, e, r.window)
	}
	if f != nil {
		no(f)
		return
	}
	if e == nil {
		e = s.begin(from, m.Session)
	}
	e.active = now
	s.reserve(e, r.window)
	if e.inPass {
		// The branches are in use; what is running is not sent any more.
		e.next = r
		s.clear(e)
		return
	}
	s.move(e, r)
}

// place says why no new session of c is taken. s.mu is held.
func (s *Stage) place(c *client) *wire.Fail {
	limits := &s.cfg.Limits
	var f *wire.Fail
	switch {
	case s.stopped || s.draining:
		return refuse(wire.CodeDraining, "the node is leaving")
	case s.live >= limits.MaxSessions:
		f = refuse(wire.CodeBusy, "%d sessions are open", s.live)
	case c != nil && c.live >= limits.clientSessions():
		f = refuse(wire.CodeBusy, "%d sessions of one client are open", c.live)
	default:
		return nil
	}
	f.RetryAfter = 1000
	return f
}

// room says why a window is not granted to c for e, which is nil for a new
// session. s.mu is held.
func (s *Stage) room(c *client, e *session, window int64) *wire.Fail {
	limits := &s.cfg.Limits
	more := window
	if e != nil {
		more -= e.reserved
	}
	if more <= 0 || s.reserved+more <= limits.Memory && (c == nil || c.reserved+more <= limits.clientMemory()) {
		return nil
	}
	f := refuse(wire.CodeBusy, "no memory for a window of %d bytes", window)
	f.RetryAfter = 1000
	return f
}

// reserve sets the memory that e holds. s.mu is held.
func (s *Stage) reserve(e *session, window int64) {
	s.reserved += window - e.reserved
	e.client.reserved += window - e.reserved
	e.reserved = window
}

// negotiate checks an Open against what this stage serves.
func (s *Stage) negotiate(m *wire.Open, now time.Time) (*route, *wire.Fail) {
	limits := &s.cfg.Limits
	switch {
	case m.Version != wire.Version:
		return nil, unsupported("version")
	case m.Mode == wire.ModeEncode:
		return nil, unsupported("mode encode")
	case m.Mode == wire.ModeTrain:
		return nil, unsupported("mode train")
	case m.Mode != wire.ModeDecode:
		return nil, refuse(wire.CodeBadRequest, "mode %d", m.Mode)
	case m.Role.Embed:
		return nil, unsupported("role embed")
	case m.Role.Head:
		return nil, unsupported("role head")
	case m.Role.Sample:
		return nil, unsupported("role sample")
	case m.Adapter != inference.Digest{}:
		return nil, unsupported("adapter")
	case m.Wire == inference.WireInt8:
		return nil, unsupported("wire dtype int8")
	case m.Wire.Bytes() == 0:
		return nil, refuse(wire.CodeBadRequest, "%s", m.Wire)
	case m.Digest != s.cfg.Digest:
		return nil, refuse(wire.CodeWrongModel, "model %s is served here, not %s", s.cfg.Digest.Short(), m.Digest.Short())
	case m.Class != s.cfg.Class:
		return nil, refuse(wire.CodeWrongModel, "numerics class here is %s, not %q", s.cfg.Class, string(m.Class))
	case !s.cfg.Span.Blocks().Contains(m.Role.Blocks):
		return nil, refuse(wire.CodeWrongModel, "blocks %s are served here, not %s", s.cfg.Span.Blocks(), m.Role.Blocks)
	case m.Hop == 0 && m.Prev != "":
		return nil, refuse(wire.CodeBadRequest, "the first hop has a hop before it")
	case (m.Next == "") != (m.Hop+1 == m.Hops):
		return nil, refuse(wire.CodeBadRequest, "hop %d of %d with next hop %q", m.Hop, m.Hops, m.Next)
	case int64(m.Limits.Positions) > int64(limits.Positions):
		return nil, refuse(wire.CodeLimit, "%d positions, at most %d", m.Limits.Positions, limits.Positions)
	case int64(m.Limits.Branches) > int64(limits.Branches):
		return nil, refuse(wire.CodeLimit, "%d branches, at most %d", m.Limits.Branches, limits.Branches)
	case int64(m.Limits.Window) > limits.maxWindow():
		return nil, refuse(wire.CodeLimit, "window of %d bytes, at most %d", m.Limits.Window, limits.maxWindow())
	case m.Deadline != 0 && int64(m.Deadline) <= now.UnixMilli() && int64(m.Deadline) > 0:
		return nil, refuse(wire.CodeDeadline, "the deadline has passed")
	}
	r := &route{Open: *m, last: m.Next == "", window: int64(m.Limits.Window)}
	if r.window == 0 {
		r.window = min(int64(limits.Window), limits.maxWindow())
	}
	if r.Limits.Positions == 0 {
		r.Limits.Positions = uint32(limits.Positions)
	}
	r.Limits.Branches = max(r.Limits.Branches, 1)
	if m.Features&wire.FeatureIDs != 0 && s.cfg.Ends != nil && m.Hop == 0 && m.Role.Blocks.Start == 0 {
		r.features |= wire.FeatureIDs
		r.ids = true
	}
	return r, nil
}

// begin registers a new session.
func (s *Stage) begin(from inference.PeerID, id inference.SessionID) *session {
	c := s.clients[from]
	if c == nil {
		c = &client{id: from}
		s.clients[from] = c
	}
	c.live++
	s.orders++
	s.live++
	e := &session{
		id: id, client: c, order: s.orders, branches: map[uint32]*model.Branch{}, ahead: map[uint64]*step{},
		reading: map[inference.PeerID]int64{}, owed: map[inference.PeerID]int64{},
	}
	s.sessions[id] = e
	return e
}

// move puts e on a new route; nothing of it is in a pass.
func (s *Stage) move(e *session, r *route) {
	s.clear(e)
	keep := r.Keep && r.key() == e.route.key()
	now := time.Now()
	e.route, e.next = *r, nil
	e.open, e.failed, e.direct, e.parked = false, false, false, false
	e.received, e.started, e.sent = 0, 0, 0
	e.recent = [maxRecent]seen{}
	e.worked = now
	e.unacked, e.window, e.unpaid = 0, r.window, time.Time{}
	e.reported, e.overdue = wire.Progress{}, time.Time{}
	clear(e.reading)
	clear(e.owed)
	e.deadline = now.Add(s.cfg.Limits.Lifetime)
	if d := int64(r.Deadline); d > 0 && d < e.deadline.UnixMilli() {
		e.deadline = time.UnixMilli(d)
	}
	if !keep {
		s.releaseBranches(e)
	}
	if len(e.branches) == 0 {
		e.branches[0] = s.cfg.Cache.NewBranch(r.Role.Blocks)
	}
	s.clerk(e, taskOpen, func() { s.settle(e, r) })
}

// settle does the part of an Open that waits: account and edge. It runs on the
// session's clerk.
func (s *Stage) settle(e *session, r *route) {
	s.mu.Lock()
	stale := e.ended || e.stale(r)
	s.mu.Unlock()
	if stale {
		return // nobody waits for it: no dial, no disk
	}
	edge := make(chan error, 1)
	if !r.last && !r.Relay {
		if s.cfg.Learn != nil && len(r.NextAddrs) > 0 {
			s.cfg.Learn(r.Next, r.NextAddrs)
		}
		go func() {
			ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Limits.EdgeTimeout)
			defer cancel()
			edge <- s.cfg.Links.Connect(ctx, r.Next)
		}()
	} else {
		edge <- nil
	}
	var account Account
	var receipt *inference.Receipt
	var err error
	if s.cfg.Meter != nil {
		account, err = s.cfg.Meter.Open(Terms{
			Client: e.client.id, Session: e.id, Epoch: r.Epoch, Digest: r.Digest, Class: r.Class,
			Blocks: r.Role.Blocks, Quote: r.Quote,
		}, r.Voucher)
		if err == nil {
			if last, err := account.Receipt(); err == nil && last.Blocks.Validate() == nil {
				receipt = &last
			}
		}
	}
	unreachable := <-edge

	s.mu.Lock()
	defer s.mu.Unlock()
	if account != nil {
		e.account = account // also if e has ended meanwhile: the next job closes it
	}
	if e.ended || e.stale(r) || e.failed {
		return
	}
	if err != nil {
		s.fail(e, 0, refuse(wire.CodePayment, "%v", err))
		if e.account == nil {
			s.end(e, inference.OutcomeAbort)
		}
		return
	}
	e.direct = !r.last && !r.Relay && unreachable == nil
	e.open = true
	s.opened(e, receipt)
	if e.since.IsZero() {
		e.since = time.Now()
		s.cfg.Log.Debug("session opened", "session", e.id, "peer", e.client.id, "blocks", r.Role.Blocks.String(), "class", r.Class)
	}
	if f := s.cfg.Events.SessionOpened; f != nil {
		f(s.info(e))
	}
	if unreachable != nil {
		s.cfg.Log.Info("next hop not reached, its steps go through the client", "session", e.id, "peer", r.Next, "err", unreachable)
	}
	s.flushOutbox(e)
	s.kick()
}

// stale reports whether a newer Open than that of r has come. s.mu is held.
func (e *session) stale(r *route) bool { return e.route.Epoch != r.Epoch || e.next != nil }

func (s *Stage) info(e *session) SessionInfo {
	return SessionInfo{
		Session: e.id, Client: e.client.id, Epoch: e.route.Epoch, Blocks: e.route.Role.Blocks,
		Hop: int(e.route.Hop), Direct: e.direct || e.route.last,
	}
}

// opened answers Open; s.mu is held and nothing of e is in a pass.
func (s *Stage) opened(e *session, receipt *inference.Receipt) {
	m := &wire.Opened{
		Session: e.id, Epoch: e.route.Epoch, Hop: e.route.Hop, Features: e.route.features,
		Window: uint32(e.route.window), Direct: e.direct || e.route.last, Load: s.load(), Receipt: receipt,
	}
	if !e.inPass {
		for id, b := range e.branches {
			m.Branches = append(m.Branches, wire.BranchLength{Branch: id, Length: uint32(b.Len())})
		}
		sortBranches(m.Branches)
	}
	s.send(e.client.id, m)
}
