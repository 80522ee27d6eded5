package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// How the client finds out that a hop no longer gets on. A hop that computes
// is not disturbed: its links answer a probe while the forward pass runs.
const (
	quiet      = 700 * time.Millisecond // nothing heard of a hop: it is asked
	answer     = 2 * time.Second        // no answer to that: the hop is stalled
	edgeQuiet  = 2 * time.Second        // a step sent on that the next hop has not received …
	edgeRate   = 256 << 10              // … after what its payload takes at so many bytes per second
	pumpTick   = 100 * time.Millisecond
	minCompute = 10 * time.Second // a forward pass may take this and 10× what was expected …
	maxCompute = 5 * time.Minute  // … but no more than this
)

// pump handles events until done, ctx ends, a hop fails or nothing gets on for
// the session's timeout.
func (s *Session) pump(ctx context.Context, done func() bool) error {
	// What has arrived is taken first, so that the loss of a peer between two
	// steps is known before the next one is sent.
	for {
		ev, ok, err := s.box.take(ctx, 0)
		if err == nil && ok {
			err = s.handle(ev)
		}
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	for checked := time.Now(); !done(); {
		ev, ok, err := s.box.take(ctx, pumpTick)
		if err == nil && ok {
			err = s.handle(ev)
		}
		if err != nil {
			return err
		}
		if now := time.Now(); now.Sub(checked) >= pumpTick && !done() {
			if err := s.check(now, now.Sub(checked)); err != nil {
				return err
			}
			checked = now
		}
	}
	return nil
}

// check looks for hops that do not get on; since is when that was last done.
func (s *Session) check(now time.Time, since time.Duration) error {
	if since > quiet {
		// It was this process that stood still, or was very busy: what has
		// come meanwhile is not read yet.
		for _, h := range s.hops {
			h.news, h.asked = now, 0
		}
		return nil
	}
	if now.Sub(s.alive) > s.opts.Timeout && !s.computing(now) {
		return s.blame(now)
	}
	return s.question(now)
}

// computing reports whether a hop is in a forward pass that may go on.
func (s *Session) computing(now time.Time) bool {
	i := s.busy()
	return i >= 0 && now.Sub(s.hops[i].since) <= s.patience(s.hops[i])
}

// busy returns the last hop that has begun a step and not sent it on, while
// none after it has one to do: what those before it hold may wait for it. −1 if
// there is none.
func (s *Session) busy() int {
	for i := len(s.hops) - 1; i >= 0; i-- {
		if p := s.hops[i].progress; p.Received > p.Sent {
			if p.Started > p.Sent {
				return i
			}
			return -1
		}
	}
	return -1
}

func (s *Session) handle(ev event) error {
	i := s.hopOf(ev.from)
	if ev.frame == nil {
		if i < 0 {
			return nil
		}
		return s.hopError(i, FailDead, ev.err)
	}
	defer ev.frame.Release()
	if i < 0 {
		return nil
	}
	h := s.hops[i]
	h.news = time.Now()
	switch m := ev.frame.Message.(type) {
	case *wire.Opened:
		if m.Epoch == s.epoch && int(m.Hop) == i {
			s.opened(h, m)
		}
	case *wire.Output:
		if i == len(s.hops)-1 {
			s.unhold(m.Epoch, len(s.hops), uint64(len(ev.frame.Payload.Data)))
			return s.output(m, ev.frame)
		}
	case *wire.Progress:
		s.progressed(h, i, m)
	case *wire.Credit:
		if m.Epoch == s.epoch && m.Hop == 0 && i == 0 && m.Bytes <= uint64(s.windowBytes()) {
			s.window = min(s.window+int64(m.Bytes), s.windowBytes())
		}
	case *wire.Fail:
		return s.failed(i, m)
	}
	return nil
}

func (s *Session) progressed(h *hop, i int, m *wire.Progress) {
	if m.Nonce != 0 && m.Nonce == h.asked {
		h.asked = 0
	}
	if m.Epoch != s.epoch || int(m.Hop) != i || max(m.Received, m.Started, m.Sent) > s.seq {
		return
	}
	now, old := time.Now(), &h.progress
	if m.Received > old.Received || m.Started > old.Started || m.Sent > old.Sent {
		s.gotOn(nil)
	}
	// A step is being computed since it was begun, or since the one before it
	// was sent.
	if m.Started > m.Sent && (m.Started != old.Started || m.Sent != old.Sent) {
		h.since = now
	}
	h.progress = *m
	s.sentOn(i, m.Sent)
}

func (s *Session) failed(i int, m *wire.Fail) error {
	if m.Epoch != s.epoch && !(m.Code == wire.CodeNoSession && m.Epoch == 0 && s.hops[i].opened) {
		return nil
	}
	if paid, err := s.payAgain(i, m); paid {
		return err
	}
	if s.hops[i].opened && endsEpoch(m.Code) {
		s.failedAt(i)
	}
	kind := kindOf(m.Code)
	err := s.hopError(i, kind, m)
	err.Retryable, err.retryAfter = kind == FailGone || m.Code.Retryable(), time.Duration(m.RetryAfter)*time.Millisecond
	if m.Code == wire.CodeDeadline {
		err.unrated = true // it may be this machine's clock that is wrong
		err.Err = fmt.Errorf("%w; check this machine's clock, it may be wrong", m)
	}
	if kind == FailEdge {
		e := edge{s.hops[i].Peer(), ""}
		if i+1 < len(s.hops) {
			e.to = s.hops[i+1].Peer()
		}
		if s.hops[i].relayed || e.to == "" {
			// It has no edge that could fail.
			return s.hopError(i, FailFaulty, m)
		}
		s.relay[e] = true
	}
	return err
}

// question probes hops that have not been heard of, and blames one that does
// not answer, cannot be reached, or takes far too long.
func (s *Session) question(now time.Time) error {
	for i, h := range s.hops {
		if h.asked != 0 && now.Sub(h.news) > answer {
			return s.hopError(i, FailStalled, fmt.Errorf("no answer for %s", now.Sub(h.news).Round(time.Millisecond)))
		}
		if h.asked == 0 && now.Sub(h.news) > quiet {
			h.asked, h.news = rand.Uint64()|1, now
			probe := &wire.Frame{Message: &wire.Probe{Session: s.id, Nonce: h.asked}}
			if err := s.p.parts.Links.Send(h.Peer(), probe); err != nil {
				return s.hopError(i, FailDead, err)
			}
		}
	}
	if i := s.busy(); i >= 0 {
		if h := s.hops[i]; now.Sub(h.since) > s.patience(h) {
			return s.hopError(i, FailStalled, fmt.Errorf("step %d takes longer than %s", h.progress.Started, s.patience(h)))
		}
	}
	for i := range s.hops {
		if err := s.edgeStuck(i, now); err != nil {
			return err
		}
	}
	return nil
}

// edgeStuck reports a step that the hop before (or the client) sent and hop i
// has not received for edgeQuiet: first the edge is blamed, then the hop. Of an
// edge through the client it is known whether the step came, whatever the hop
// before says.
func (s *Session) edgeStuck(i int, now time.Time) error {
	h, sent := s.hops[i], s.seq
	if i > 0 {
		prev := s.hops[i-1]
		sent = prev.progress.Sent
		if prev.opened && !prev.direct {
			came := s.came(i)
			if came >= sent {
				prev.owing = time.Time{}
			} else if prev.owing.IsZero() {
				prev.owing = now
			} else if now.Sub(prev.owing) >= edgeQuiet+s.travel() && prev.asked == 0 {
				return s.hopError(i-1, FailFaulty, fmt.Errorf("step %d, which it says it sent, has not come", sent))
			}
			sent = came
		}
	}
	if !h.opened || h.progress.Received >= sent {
		h.behind = time.Time{}
		return nil
	}
	if h.behind.IsZero() {
		h.behind = now
	}
	if now.Sub(h.behind) < edgeQuiet+s.travel() || h.asked != 0 {
		return nil // a hop that does not answer is not the edge's fault
	}
	err := fmt.Errorf("step %d was sent to it and has not arrived", sent)
	if i > 0 && s.hops[i-1].direct {
		s.relay[edge{s.hops[i-1].Peer(), h.Peer()}] = true
		return s.hopError(i-1, FailEdge, err)
	}
	return s.hopError(i, FailStalled, err)
}

// travel is how long the payload of a step under way may take over an edge.
func (s *Session) travel() time.Duration {
	most := uint64(0)
	for _, p := range s.waiting {
		most = max(most, p.units)
	}
	bytes := most * uint64(s.p.parts.Ends.Hidden()*s.opts.Wire.Bytes())
	return time.Duration(bytes) * time.Second / edgeRate
}

// patience is how long one forward pass of a hop may take.
func (s *Session) patience(h *hop) time.Duration {
	ms := h.Offer.Effective().Prefill
	if ms <= 0 {
		ms = 1
	}
	expected := min(10*ms*float64(s.opts.Chunk*h.Blocks.Len()), 1e9)
	return min(minCompute+time.Duration(expected*1e6), maxCompute)
}

// blame names the hop at which a session that no longer gets on stands.
func (s *Session) blame(now time.Time) error {
	if len(s.hops) == 0 {
		return fmt.Errorf("%w for %s", ErrNoProgress, s.opts.Timeout)
	}
	at := 0
	for i, h := range s.hops {
		if h.progress.Sent >= s.seq && s.seq > 0 {
			at = min(i+1, len(s.hops)-1)
		}
	}
	err := s.hopError(at, FailStalled, fmt.Errorf("%w for %s", ErrNoProgress, now.Sub(s.alive).Round(time.Second)))
	err.Retryable = false
	return err
}

func (s *Session) hopOf(peer inference.PeerID) int {
	for i, h := range s.hops {
		if h.Peer() == peer {
			return i
		}
	}
	return -1
}

func (s *Session) hopError(i int, kind FailureKind, err error) *HopError {
	if err == nil {
		err = errors.New("connection lost")
	}
	return &HopError{Hop: i, Peer: s.hops[i].Peer(), Blocks: s.hops[i].Blocks, Kind: kind, Retryable: true, Err: err}
}
