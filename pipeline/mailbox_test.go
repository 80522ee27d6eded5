package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

func TestMailboxIsBounded(t *testing.T) {
	pool := tensor.NewPool(1 << 20)
	m := newMailbox()
	for i := range maxMail {
		if !m.put(event{frame: &wire.Frame{Message: &wire.Output{Seq: uint64(i)}, Payload: pool.Get(tensor.I8, 1, 10)}}) {
			t.Fatalf("full after %d events", i)
		}
	}
	if m.put(event{}) {
		t.Error("more than maxMail events were taken")
	}
	for i := range uint64(10) {
		ev, ok, err := m.take(context.Background(), 0)
		if !ok || err != nil || ev.frame.Message.(*wire.Output).Seq != i {
			t.Fatalf("event %v, %v, %v", ev, ok, err)
		}
		ev.frame.Release()
	}
	m.close()
	if m.put(event{}) {
		t.Error("a closed box takes events")
	}
	if live := pool.Live(); live != 0 {
		t.Errorf("%d bytes left", live)
	}
}

func TestMailboxWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox()
		start := time.Now()
		if _, ok, err := m.take(context.Background(), time.Second); ok || err != nil || time.Since(start) != time.Second {
			t.Errorf("%v, %v after %v", ok, err, time.Since(start))
		}
		time.AfterFunc(time.Second, func() { m.put(event{from: "a"}) })
		if ev, ok, _ := m.take(context.Background(), time.Hour); !ok || ev.from != "a" || time.Since(start) != 2*time.Second {
			t.Errorf("%v, %v after %v", ev, ok, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, ok, err := m.take(ctx, time.Hour); ok || err == nil {
			t.Errorf("%v, %v after the context's end", ok, err)
		}
	})
}

// A peer may have no more payload outstanding than the session granted, and
// only what the route expects of it.
func TestPayloadIsTakenWithinTheWindowOnly(t *testing.T) {
	s := newTestSession(t, SessionOptions{Chunk: 1})
	x := s.p.parts.Exchange
	s.epoch = 3
	s.enter([]inference.PeerID{"a", "b", "c"})
	window := int(s.windowBytes())
	output := func(epoch inference.Epoch) wire.Message { return &wire.Output{Session: s.id, Epoch: epoch} }
	relayed := func(hop uint8, epoch inference.Epoch) wire.Message {
		return &wire.Step{Session: s.id, Epoch: epoch, Hop: hop}
	}
	for i, c := range []struct {
		from inference.PeerID
		m    wire.Message
		n    int
		ok   bool
	}{
		{"c", output(3), window - 1, true},
		{"c", output(3), 2, false},
		{"c", output(3), 1, true},
		{"c", output(2), 1, false}, // of an epoch that is over
		{"b", output(3), 1, false},
		{"d", output(3), 1, false},
		{"a", relayed(1, 3), window, true},
		{"a", relayed(1, 3), 1, false},
		{"b", relayed(2, 3), 1, true},
		{"b", relayed(1, 3), 1, false},
		{"a", relayed(0, 3), 1, false},
		{"c", relayed(3, 3), 1, false},
		{"c", &wire.Attach{Session: s.id}, 1, false},
		{"c", &wire.Output{Session: inference.SessionID{1}, Epoch: 3}, 1, false},
	} {
		b, err := x.Reserve(c.from, c.m, c.n)
		if (err == nil) != c.ok {
			t.Errorf("case %d: %v", i, err)
		}
		b.Release()
	}
	// Credit of the receiver makes room again, that of others does not.
	credit := func(from inference.PeerID, hop uint8) {
		s.receive(from, &wire.Frame{Message: &wire.Credit{Session: s.id, Epoch: 3, Hop: hop, Bytes: 10}})
	}
	s.p.parts.Links = deafLinks{}
	credit("c", 1)
	if _, err := x.Reserve("a", relayed(1, 3), 1); err == nil {
		t.Error("a stranger's credit counts")
	}
	credit("b", 1)
	if b, err := x.Reserve("a", relayed(1, 3), 10); err != nil {
		t.Error(err)
	} else {
		b.Release()
	}
	// A new epoch begins with the whole window.
	s.epoch = 4
	s.enter([]inference.PeerID{"a", "b", "c"})
	if b, err := x.Reserve("c", output(4), window); err != nil {
		t.Error(err)
	} else {
		b.Release()
	}
}

// deafLinks take everything and do nothing.
type deafLinks struct{}

func (deafLinks) Connect(context.Context, inference.PeerID) error { return nil }
func (deafLinks) Send(_ inference.PeerID, f *wire.Frame) error    { f.Release(); return nil }

func TestSessionsOfAProcessAreBounded(t *testing.T) {
	s := newTestSession(t, SessionOptions{})
	for i := range maxSessions - 1 {
		s.p.parts.Exchange.sessions[inference.SessionID{1, byte(i), byte(i >> 8)}] = s
	}
	if _, err := s.p.Open(context.Background(), SessionOptions{}); err == nil {
		t.Error("one more was opened")
	}
}
