package pipeline

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// blames are the Scores that only note failures.
type blames struct {
	noScores
	kinds []FailureKind
}

func (b *blames) Failed(_ inference.PeerID, k FailureKind) { b.kinds = append(b.kinds, k) }

// failing returns a session over three hops and what its scores are told.
func failing(t *testing.T) (*Session, *blames) {
	l := list{record("a", 0, 2, 1), record("b", 2, 4, 1), record("c", 4, 6, 1)}
	s, b := planning(t, l, SessionOptions{}, "", 0, 1, 2), &blames{}
	s.p.parts.Scores = b
	for _, h := range s.hops {
		h.opened = true
	}
	return s, b
}

func TestPeerThatForgetsASessionTwiceIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []wire.Code{wire.CodeNoSession, wire.CodeDeadline} {
			s, blamed := failing(t)
			fail := func() *HopError {
				s.progress = time.Now()
				err := s.failed(1, &wire.Fail{Epoch: s.epoch, Code: code})
				if err := s.fault(t.Context(), err); err != nil {
					t.Fatal(err)
				}
				var he *HopError
				errors.As(err, &he)
				return he
			}
			if he := fail(); he.Kind != FailGone || s.hops[1].bad || s.ready {
				t.Errorf("%s, the first time: %v, replaced %v", code, he, s.hops[1].bad)
			}
			time.Sleep(10 * time.Minute) // an idle session is forgotten by anybody
			if he := fail(); he.Kind != FailGone || s.hops[1].bad {
				t.Errorf("%s, ten minutes later: %v, replaced %v", code, he, s.hops[1].bad)
			}
			he := fail()
			if he.Kind != FailFaulty || !s.hops[1].bad || s.avoid["b"].times != 1 {
				t.Errorf("%s, at once: %v, replaced %v", code, he, s.hops[1].bad)
			}
			if clock := code == wire.CodeDeadline; clock != strings.Contains(he.Error(), "clock") || clock != (len(blamed.kinds) == 0) {
				t.Errorf("%s: %v, ratings were told %v", code, he, blamed.kinds)
			}
			s.Close()
			s.p.parts.Exchange.Wait()
		}
	})
}

func TestRelayedEdgeIsNotTheNextHopsFault(t *testing.T) {
	next := &wire.Fail{Code: wire.CodeNextHop}
	s, _ := failing(t)
	var he *HopError
	if errors.As(s.failed(1, next), &he); he.Kind != FailEdge || !s.relay[edge{"b", "c"}] {
		t.Errorf("of a direct edge: %v", he)
	}
	if errors.As(s.failed(1, next), &he); he.Kind != FailEdge {
		t.Errorf("of a direct edge, again in the same epoch: %v", he)
	}
	s.hops[1].relayed = true
	if errors.As(s.failed(1, next), &he); he.Kind != FailFaulty || he.Peer != "b" {
		t.Errorf("of an edge through the client: %v", he)
	}
	if errors.As(s.failed(2, next), &he); he.Kind != FailFaulty || he.Peer != "c" {
		t.Errorf("of the last hop: %v", he)
	}
}

func TestStepThatNeverCameIsNotTheNextHopsFault(t *testing.T) {
	s, _ := failing(t)
	s.enter([]inference.PeerID{"a", "b", "c"})
	s.seq = 5
	s.hops[0].progress.Received, s.hops[0].progress.Sent = 5, 5
	now := time.Now()
	stuck := func(received uint64) (he *HopError) {
		s.hops[1].progress.Received = received
		for _, d := range []time.Duration{0, 1900 * time.Millisecond, 2100 * time.Millisecond} {
			err := s.edgeStuck(1, now.Add(d))
			if errors.As(err, &he); he != nil && d < edgeQuiet {
				t.Fatalf("after %v: %v", d, he)
			}
		}
		return he
	}
	s.count("a", &wire.Step{Hop: 1, Seq: 4})
	s.count("c", &wire.Step{Hop: 1, Seq: 5}) // not its to send
	if he := stuck(4); he == nil || he.Peer != "a" || he.Kind != FailFaulty {
		t.Errorf("a step that was not sent: %v", he)
	}
	s.count("a", &wire.Step{Hop: 1, Seq: 5})
	if he := stuck(4); he == nil || he.Peer != "b" || he.Kind != FailStalled {
		t.Errorf("a step that was passed on: %v", he)
	}
	if he := stuck(5); he != nil {
		t.Errorf("a step that has arrived: %v", he)
	}
}
