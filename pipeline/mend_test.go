package pipeline

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// unreachable are Links over which nobody is reached, and what was sent.
type unreachable struct {
	told map[inference.PeerID]inference.Outcome
}

func (unreachable) Connect(context.Context, inference.PeerID) error { return errors.New("unreachable") }

func (u unreachable) Send(to inference.PeerID, f *wire.Frame) error {
	if m, ok := f.Message.(*wire.Close); ok {
		u.told[to] = m.Outcome
	}
	return nil
}

func TestOnlyHopThatFailedIsToldSo(t *testing.T) {
	s, _ := failing(t)
	links := unreachable{map[inference.PeerID]inference.Outcome{}}
	s.p.parts.Links = links
	s.enter([]inference.PeerID{"a", "b", "c"})
	s.hops[1].bad = true
	w := &hop{}
	w.Offer.Record = record("w", 0, 4, 1)
	if err := s.openAll(t.Context(), []*hop{w, s.hops[2]}, 1, nil); err == nil {
		t.Fatal("it was reached")
	}
	want := map[inference.PeerID]inference.Outcome{"a": inference.OutcomeOK, "b": inference.OutcomeNodeFault}
	if !maps.Equal(links.told, want) {
		t.Errorf("told %v, want %v", links.told, want)
	}
}
