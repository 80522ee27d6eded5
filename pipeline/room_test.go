package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

// sized is a record of a node whose KV cache has so many pages of one byte.
func sized(peer string, start, end int, pages int64) inference.NodeRecord {
	r := record(peer, start, end, 1)
	r.Memory = pages
	return r
}

// long gives a session of one branch so many positions, which its step needs.
func (s *Session) long(positions int) {
	s.branches = map[uint32]*branch{0: {rows: make([]input, positions)}}
	s.room.begin(s.branches)
	s.p.parts.PageBytes = func(inference.NumericsClass) int64 { return 1 }
}

func TestPagesOfBranchesThatShareTheirBeginning(t *testing.T) {
	rows := func(n, from int) *branch { // like every other below from
		b := &branch{}
		for i := range n {
			id := inference.TokenID(i)
			if i >= from {
				id += inference.TokenID(1000 * n)
			}
			b.rows = append(b.rows, input{id: id})
		}
		return b
	}
	for _, c := range []struct {
		branches map[uint32]*branch
		want     int
	}{
		{map[uint32]*branch{}, 0},
		{map[uint32]*branch{0: rows(0, 0)}, 0},
		{map[uint32]*branch{0: rows(16, 16)}, 1},
		{map[uint32]*branch{0: rows(17, 17)}, 2},
		{map[uint32]*branch{0: rows(40, 40), 3: rows(40, 40)}, 3},
		{map[uint32]*branch{0: rows(40, 40), 3: rows(41, 40)}, 3 + 1},
		{map[uint32]*branch{0: rows(40, 40), 3: rows(60, 32)}, 3 + 2},
		{map[uint32]*branch{1: rows(20, 0), 2: rows(21, 0)}, 2 + 2},
	} {
		if got := pagesOf(c.branches); got != c.want {
			t.Errorf("%d branches: %d pages, want %d", len(c.branches), got, c.want)
		}
	}
}

func TestSessionWaitsForRoomOnlyWhereThereMayBeSome(t *testing.T) {
	lost := &HopError{Kind: FailDead, Peer: "large", Retryable: true}
	for name, c := range map[string]struct {
		records  list
		before   func(s *Session)
		want     error
		atLeast  time.Duration // waited
		atMost   time.Duration
		asksFor  int
		orHolds  int
		failures []*HopError
	}{
		"all are too small": {records: list{sized("a", 0, 6, 60)}, want: ErrNoRoom, asksFor: 176, orHolds: 160},
		"it was refused": {
			records: list{record("a", 0, 6, 1)}, want: ErrNoRoom, asksFor: 176, orHolds: 160,
			before: func(s *Session) {
				s.learnRoom(&HopError{Kind: FailSmall, Peer: "a", Blocks: inference.BlockRange{Start: 0, End: 6}})
			},
		},
		"the large one is left alone for a while": {
			records: list{sized("a", 0, 6, 60), sized("large", 0, 6, 600)}, atLeast: time.Second, atMost: 1100 * time.Millisecond,
			before: func(s *Session) { s.shun("large", time.Second, time.Second) },
		},
		"the large one is gone": {
			records: list{sized("a", 0, 6, 60)}, want: ErrNoRoom, asksFor: 176, orHolds: 160,
			before:  func(s *Session) { s.failures = []*HopError{lost} },
			atLeast: 30 * time.Second, atMost: 31 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := planning(t, c.records, SessionOptions{}, "")
				s.long(161)
				if c.before != nil {
					c.before(s)
				}
				start := time.Now()
				s.progress = start
				hops, _, err := s.plan(t.Context())
				if !errors.Is(err, c.want) || c.want == nil && chainOf(hops) != "large 0:6" {
					t.Errorf("%s, %v", chainOf(hops), err)
				}
				var small *RoomError
				if errors.As(err, &small) && (small.Needed != c.asksFor || small.Holds != c.orHolds) {
					t.Errorf("%+v", small)
				}
				if took := time.Since(start); took < c.atLeast || took > c.atMost {
					t.Errorf("it waited %v", took)
				}
			})
		})
	}
}

// Once a hop had no room, only positions that were never computed count.
func TestComputingAgainIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := planning(t, list{record("a", 0, 6, 1)}, SessionOptions{}, "", 0)
		s.long(100)
		counts := func(p *pending) bool {
			time.Sleep(time.Second)
			s.gotOn(p)
			if s.alive != time.Now() {
				t.Error("the hop is alive")
			}
			return s.progress == time.Now()
		}
		if !counts(&pending{units: 10}) || !counts(&pending{units: 10, fill: true}) || !counts(nil) {
			t.Error("without a hop that is full all counts")
		}
		s.condemn(&HopError{Kind: FailBusy, Peer: "a", Retryable: true})
		s.room.got = 0
		if counts(&pending{units: 10}) || counts(&pending{units: 10, fill: true}) || counts(nil) {
			t.Error("computing again counts")
		}
		if !counts(&pending{units: 1}) {
			t.Error("a new position does not count")
		}
	})
}

func TestSessionGivesUpAfterComputingInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, blamed := failing(t)
		s.long(100)
		s.progress = time.Now()
		for i := range maxFutile + 1 {
			s.seq, s.room.got = 3, 0
			s.gotOn(&pending{units: 10})
			err := s.fault(t.Context(), s.hopError(1, FailBusy, errors.New("out of KV pages")))
			var busy *BusyError
			if last := i == maxFutile; last != errors.As(err, &busy) {
				t.Fatalf("after %d times: %v", i+1, err)
			}
		}
		// A hop that is too small is not to blame.
		blamed.kinds = nil
		if err := s.fault(t.Context(), s.hopError(1, FailSmall, errors.New("no room"))); err != nil {
			t.Error(err)
		}
		if len(blamed.kinds) != 0 || !s.hops[1].bad || !s.hops[1].full {
			t.Errorf("%v, %+v", blamed.kinds, s.hops[1])
		}
	})
}

// Whoever waits for pages of one hop for long keeps none at the others.
func TestSessionThatWaitsForPagesGivesUpItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := list{record("a", 0, 3, 1), record("b", 3, 6, 1)}
		s := planning(t, l, SessionOptions{}, "", 0, 1)
		links := &closes{}
		s.p.parts.Links = links
		s.long(100)
		s.enter([]inference.PeerID{"a", "b"})
		s.condemn(s.hopError(1, FailBusy, errors.New("out of KV pages")))
		s.shun("b", 5*time.Second, 5*time.Second)
		if _, _, err := s.plan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(links.to) != 2 || len(s.hops) != 0 || s.ready {
			t.Errorf("closed at %v, hops %s", links.to, chainOf(s.hops))
		}
		var none *route.NoRouteError
		if errors.As(s.unroutable(errors.New("no")), &none) {
			t.Error("it is busy, not without a route")
		}
	})
}

// closes are Links that note where sessions are closed.
type closes struct{ to []inference.PeerID }

func (*closes) Connect(context.Context, inference.PeerID) error { return errors.New("nobody is there") }

func (c *closes) Send(to inference.PeerID, f *wire.Frame) error {
	if _, ok := f.Message.(*wire.Close); ok {
		c.to = append(c.to, to)
	}
	return nil
}
