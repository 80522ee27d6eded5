package stage

import (
	"context"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

const (
	coalesce  = 20 * time.Millisecond  // of Progress and Credit
	houseTick = 100 * time.Millisecond // deadlines and idle sessions
	lateAfter = time.Second            // a step that has not left by then is overdue
)

// progress tells the client how far the session is. s.mu is held.
func (s *Stage) progress(e *session, nonce uint64, now time.Time) {
	m := wire.Progress{
		Session: e.id, Epoch: e.route.Epoch, Hop: e.route.Hop,
		Received: e.received, Started: e.started, Sent: e.sent,
	}
	e.reported, e.told = m, now
	m.Nonce, m.Load = nonce, s.load()
	s.send(e.client.id, &m)
}

// unreported tells whether the client does not know how far the session is.
func (e *session) unreported() bool {
	p := &e.reported
	return p.Received != e.received || p.Started != e.started || p.Sent != e.sent
}

// begun notes that a step is about to be computed: of all progress this cannot
// wait if the client is to know where a step was when a peer died.
func (s *Stage) begun(e *session, seq uint64, now time.Time) {
	e.started = max(e.started, seq)
	if now.Sub(e.told) >= coalesce {
		s.progress(e, 0, now)
		return
	}
	s.list(e)
}

// list has progress and credit sent soon. s.mu is held.
func (s *Stage) list(e *session) {
	if e.listed || e.ended {
		return
	}
	e.listed = true
	s.flush = append(s.flush, e)
	if len(s.flush) == 1 {
		select {
		case s.tick <- struct{}{}:
		default:
		}
	}
}

// clock is a goroutine of Run: it sends what was listed, a little later, and
// ends what is over time.
func (s *Stage) clock(ctx context.Context) {
	house := time.NewTicker(houseTick)
	defer house.Stop()
	soon := time.NewTimer(time.Hour)
	soon.Stop()
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.tick:
			soon.Reset(coalesce)
		case <-soon.C:
			s.flushListed()
		case <-house.C:
			s.keepHouse(time.Now())
		}
	}
}

func (s *Stage) flushListed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for i, e := range s.flush {
		s.flush[i] = nil
		e.listed = false
		if e.ended || e.failed || !e.open {
			continue
		}
		for peer := range e.owed {
			s.returnCredit(e, peer)
		}
		if e.unreported() {
			s.progress(e, 0, now)
		}
	}
	s.flush = s.flush[:0]
}

func (s *Stage) keepHouse(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := &s.cfg.Limits
	for _, e := range s.sessions {
		switch {
		case !now.Before(e.deadline):
			s.fail(e, 0, refuse(wire.CodeDeadline, "the session's deadline has passed"))
			s.end(e, inference.OutcomeAbort)
		case !e.lost.IsZero() && now.Sub(e.lost) >= limits.ClientGrace:
			s.end(e, inference.OutcomeAbort)
		case now.Sub(e.active) >= limits.Idle:
			s.fail(e, 0, refuse(wire.CodeNoSession, "idle for %v", limits.Idle))
			s.end(e, inference.OutcomeAbort)
		case !e.unpaid.IsZero() && now.Sub(e.unpaid) >= limits.PayGrace && len(e.queue) > 0:
			s.fail(e, e.queue[0].m.Seq, refuse(wire.CodePayment, "%s", e.debt))
		case e.late(now) && now.Sub(e.overdue) >= lateAfter:
			e.overdue = now
			s.progress(e, 0, now)
		}
	}
}

// late reports whether a step has been here for too long.
func (e *session) late(now time.Time) bool {
	switch {
	case e.failed || !e.open:
		return false
	case len(e.queue) > 0:
		return now.Sub(e.queue[0].arrived) >= lateAfter
	case len(e.outbox) > 0:
		return now.Sub(e.outbox[0].waiting) >= lateAfter
	}
	return false
}
