package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/route"
)

// Bounds of how often one step is tried on other routes.
const (
	maxReroutes = 32
	maxFaulty   = 4 // times that a hop had an internal error: it may be the step that causes it
	maxFutile   = 4 // times that a hop had no KV page left for it after positions were computed
)

// goneAgain is how soon a peer may not forget a session twice: no stage ends
// one for idleness or age within it.
const goneAgain = time.Minute

// fault decides what an error of a step means: nil when the route is to be
// mended and the step tried again, else the error to return.
func (s *Session) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	he, ok := err.(*HopError) // one that is wrapped is the reason of a final error
	if !ok {
		return err
	}
	s.condemn(he)
	if !he.Retryable {
		return he
	}
	faulty := 0
	for _, f := range s.failures {
		if f.Kind == FailFaulty {
			faulty++
		}
	}
	switch {
	case he.Kind == FailSmall && len(s.failures) < maxReroutes:
		return nil // the planner says whether there is a place for it: there is less with each refusal
	case time.Since(s.progress) > s.opts.Timeout, s.room.futile >= maxFutile:
		return s.noProgress(he)
	case len(s.failures) >= maxReroutes || faulty >= maxFaulty:
		return fmt.Errorf("given up after %d failures: %w", len(s.failures), he)
	}
	return nil
}

// condemn notes that a hop has failed: the route is to be mended.
func (s *Session) condemn(he *HopError) {
	s.ready = false
	if he.Kind == FailGone {
		last, before := s.gone[he.Peer]
		s.gone[he.Peer] = time.Now()
		if before && time.Since(last) < goneAgain {
			he.Kind = FailFaulty // it was opened again, and forgets it again
		}
	}
	s.failures = append(s.failures, he)
	s.p.parts.Log.Info("hop lost", "session", s.id.String()[:8], "epoch", s.epoch, "hop", he.Hop, "peer", he.Peer, "blocks", he.Blocks.String(), "kind", he.Kind.String(), "err", he.Err)
	if he.Kind == FailEdge || he.Kind == FailGone || he.Kind == FailRefused && !he.Retryable {
		return // the same peers, the edge through the client or restored; or not the peer's fault
	}
	if he.Retryable && he.Hop < len(s.hops) && s.hops[he.Hop].Peer() == he.Peer {
		s.hops[he.Hop].bad = true
		s.hops[he.Hop].full = he.Kind == FailBusy || he.Kind == FailSmall
	}
	if !he.unrated && he.Kind != FailSmall {
		s.p.parts.Scores.Failed(he.Peer, he.Kind)
	}
	switch he.Kind {
	case FailSmall:
		s.learnRoom(he)
	case FailDead, FailStalled:
		// The directory keeps it out until it answers again; where there is
		// nobody else, a peer that was only slow may then be asked again.
		s.p.parts.Directory.Suspect(he.Peer)
		s.distrust(he.Peer, 10*time.Second, 500*time.Millisecond)
	case FailBusy:
		s.crowded(he)
		if he.unrated { // its load told so
			s.rest(he.Peer)
			break
		}
		s.shun(he.Peer, 2*time.Second, max(he.retryAfter, 500*time.Millisecond))
	case FailLeaving:
		s.shun(he.Peer, 30*time.Second, 2*time.Second)
	case FailRefused, FailFaulty:
		s.distrust(he.Peer, 30*time.Second, time.Second)
	}
}

func (s *Session) noProgress(last *HopError) error {
	if last.Kind == FailBusy {
		return busy(last)
	}
	if last.Kind == FailLeaving {
		missing := &route.NoRouteError{Missing: []inference.BlockRange{last.Blocks}, Nodes: len(s.hops)}
		return fmt.Errorf("%w for %s: %w (before that: %w)", ErrNoRoute, s.opts.Timeout, missing, last)
	}
	return fmt.Errorf("%w for %s: %w", ErrNoProgress, s.opts.Timeout, last)
}

func busy(he *HopError) error {
	after := he.retryAfter
	if after <= 0 {
		after = 2 * time.Second
	}
	return &BusyError{RetryAfter: after, Err: he}
}
