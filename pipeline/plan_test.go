package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/route"
)

// list is a Directory of fixed records.
type list []inference.NodeRecord

func (l list) Records(inference.Digest) []inference.NodeRecord { return l }
func (l list) Changed() <-chan struct{}                        { return nil }
func (l list) RTT(inference.PeerID) time.Duration              { return time.Millisecond }
func (l list) Suspect(inference.PeerID)                        {}

func record(peer string, start, end int, wei uint64) inference.NodeRecord {
	r := inference.NodeRecord{
		Peer: inference.PeerID(peer), Blocks: inference.BlockRange{Start: start, End: end}, Total: 6,
		State: inference.StateServing, Class: "c",
	}
	r.Quote[inference.LineDecode] = inference.WeiOf(wei)
	return r
}

// planning returns a session over hops, of which the named ones have failed.
func planning(t *testing.T, l list, o SessionOptions, bad string, hops ...int) *Session {
	s := newTestSession(t, o)
	s.p.parts.Directory, s.salt = l, 1 // ties break the same way every time
	for _, i := range hops {
		h := &hop{Hop: route.Hop{Blocks: l[i].Blocks}}
		h.Offer.Record = l[i]
		h.bad = strings.Contains(bad, string(l[i].Peer))
		s.hops = append(s.hops, h)
		if h.bad {
			s.shun(l[i].Peer, 10*time.Second, time.Second)
		}
	}
	return s
}

func chainOf(hops []*hop) string {
	var l []string
	for _, h := range hops {
		l = append(l, fmt.Sprintf("%s %s", h.Peer(), h.Blocks))
	}
	return strings.Join(l, ", ")
}

func TestPlanMovesWhatItMust(t *testing.T) {
	l := list{
		record("a", 0, 2, 1), record("b", 2, 4, 1), record("c", 4, 6, 1),
		record("d", 1, 4, 1), record("e", 3, 6, 1), record("f", 0, 1, 9),
	}
	for _, c := range []struct {
		bad     string
		ceiling uint64
		want    string
		restore int
	}{
		{"", 0, "a 0:2, b 2:4, c 4:6", 0},
		{"b", 0, "a 0:2, d 2:4, c 4:6", 2},
		{"c", 0, "a 0:2, b 2:4, e 4:6", 3},
		{"b c", 0, "a 0:2, d 2:3, e 3:6", 3},
		{"a", 0, "f 0:1, d 1:2, b 2:4, c 4:6", 2},
		{"a b", 0, "f 0:1, d 1:4, c 4:6", 2},
		{"b", 6, "a 0:2, d 2:4, c 4:6", 2},
		{"a", 14, "f 0:1, d 1:2, b 2:4, c 4:6", 2},
	} {
		s := planning(t, l, SessionOptions{Ceiling: inference.WeiOf(c.ceiling)}, c.bad, 0, 1, 2)
		hops, restore, err := s.planNow(context.Background())
		if err != nil {
			t.Errorf("%q lost, ceiling %d: %v", c.bad, c.ceiling, err)
			continue
		}
		got := chainOf(hops)
		if got != c.want || restore != c.restore {
			t.Errorf("%q lost, ceiling %d: %s, restoring %d; want %s, %d", c.bad, c.ceiling, got, restore, c.want, c.restore)
		}
	}
}

func TestPlanTakesANewRouteWhereAPatchIsTooDear(t *testing.T) {
	l := list{record("a", 0, 3, 1), record("b", 3, 6, 3), record("x", 0, 3, 3), record("w", 0, 6, 2)}
	s := planning(t, l, SessionOptions{Ceiling: inference.WeiOf(13)}, "a", 0, 1)
	if hops, restore, err := s.planNow(context.Background()); err != nil || chainOf(hops) != "w 0:6" || restore != 1 {
		t.Errorf("%s, restoring %d, %v", chainOf(hops), restore, err)
	}
	s = planning(t, l[:3], SessionOptions{Ceiling: inference.WeiOf(17)}, "a", 0, 1)
	var ceiling *route.CeilingError
	if hops, _, err := s.planNow(context.Background()); !errors.As(err, &ceiling) || ceiling.Cheapest != inference.WeiOf(18) {
		t.Errorf("%s, %v", chainOf(hops), err)
	}
}

func TestPeerThatFailedIsAskedAgainWhereThereIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := list{record("a", 0, 6, 1)}
		s := planning(t, l, SessionOptions{}, "a", 0)
		var waits []time.Duration
		for range 6 {
			start := time.Now()
			s.progress = start
			hops, restore, err := s.plan(context.Background())
			if err != nil || len(hops) != 1 || restore != 1 {
				t.Fatalf("%v, %v", hops, err)
			}
			waits = append(waits, time.Since(start))
			s.shun("a", 10*time.Second, time.Second)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			if d := waits[i] - want*time.Second; d < 0 || d > 50*time.Millisecond {
				t.Errorf("it waited %v", waits)
				break
			}
		}
		// Another one is preferred while that is possible.
		s.p.parts.Directory = list{l[0], record("b", 0, 6, 100)}
		time.Sleep(9 * time.Second)
		if hops, _, err := s.planNow(context.Background()); err != nil || hops[0].Peer() != "b" {
			t.Errorf("%v, %v", chainOf(hops), err)
		}
	})
}

func TestASessionTellsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := planning(t, list{record("a", 0, 4, 1)}, SessionOptions{Timeout: 3 * time.Second}, "")
		var told []error
		s.p.parts.Events.Waiting = func(id inference.SessionID, why error) {
			if id != s.ID() {
				t.Errorf("session %s", id)
			}
			told = append(told, why)
		}
		_, _, err := s.plan(context.Background())
		var none *route.NoRouteError
		if !errors.Is(err, ErrNoRoute) || len(told) == 0 || !errors.As(told[0], &none) || none.Missing[0] != (inference.BlockRange{Start: 4, End: 6}) {
			t.Errorf("it told %v, then %v", told, err)
		}
		told, s.progress = nil, time.Now()
		s.failures = []*HopError{{Kind: FailBusy, Peer: "b", Blocks: inference.BlockRange{Start: 4, End: 6}}}
		_, _, _ = s.plan(context.Background())
		if len(told) == 0 || !errors.Is(told[0], ErrBusy) {
			t.Errorf("of a busy node it told %v", told)
		}
	})
}

func TestPatienceIsBounded(t *testing.T) {
	s := newTestSession(t, SessionOptions{})
	h := &hop{Hop: route.Hop{Blocks: inference.BlockRange{Start: 0, End: 6}}}
	for _, c := range []struct {
		ms   float64
		want time.Duration
	}{{0, 10*time.Second + 512*6*10*time.Millisecond}, {0.01, 10*time.Second + 307200*time.Microsecond}, {1e300, maxCompute}} {
		h.Offer.Record.Rates.Prefill = c.ms
		if got := s.patience(h); got.Round(time.Millisecond) != c.want.Round(time.Millisecond) {
			t.Errorf("%v ms per row and block: %v, want %v", c.ms, got, c.want)
		}
	}
}

func TestLoadOfTheFastestIsAsked(t *testing.T) {
	var offers []inference.Offer
	add := func(peer string, decode, score float64, rtt time.Duration) {
		o := inference.Offer{Record: record(peer, 0, 6, 1), RTT: rtt, Score: score}
		o.Record.Rates.Decode, o.Record.Rates.Prefill = decode, decode
		offers = append(offers, o)
	}
	for i := range 2 * shortlist {
		add(fmt.Sprintf("slow %02d", i), 9, 1, time.Millisecond)
	}
	add("x far", 1, 1, time.Second)
	add("x poor", 1, 0, time.Millisecond)
	add("x draining", 1, 1, time.Millisecond)
	offers[len(offers)-1].Record.State = inference.StateDraining
	add("x other class", 1, 1, time.Millisecond)
	offers[len(offers)-1].Record.Class = "d"
	add("x fast", 1, 1, time.Millisecond)
	need := route.Need{Class: "c", Blocks: inference.BlockRange{Start: 0, End: 6}, Prefill: 128, Decode: 128}
	ask := candidates(offers, need)
	if len(ask) != shortlist || ask[0] != "x fast" {
		t.Errorf("%d are asked: %v", len(ask), ask)
	}
	for _, peer := range ask {
		if peer == "x far" || peer == "x draining" || peer == "x other class" {
			t.Errorf("%s is asked", peer)
		}
	}
}

func TestUnaskedPeerIsNotTakenForIdle(t *testing.T) {
	var offers []inference.Offer
	loads := map[inference.PeerID]inference.Load{}
	for i, queue := range []int{8, 1, 4} {
		r := record(fmt.Sprint(i), 0, 6, 1)
		offers = append(offers, inference.Offer{Record: r})
		loads[r.Peer] = inference.Load{Queue: queue}
	}
	offers = append(offers, inference.Offer{Record: record("unasked", 0, 6, 1)})
	assign(offers, loads)
	for i, want := range []int{8, 1, 4, 4} {
		if l := offers[i].Load; l == nil || l.Queue != want {
			t.Errorf("%s: %+v, want a queue of %d", offers[i].Record.Peer, l, want)
		}
	}
	assign(offers[:1], nil)
}

func TestPeerThatFailedTwiceIsTheLastToBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := failing(t)
		all := append(s.p.parts.Directory.(list), record("b'", 2, 4, 9))
		s.p.parts.Directory = all
		lose := func(kind FailureKind) {
			i := 1
			s.hops[i].bad = false
			s.condemn(s.hopError(i, kind, errors.New("as it says")))
		}
		planned := func() string {
			s.progress = time.Now()
			hops, _, err := s.plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.hops = hops
			return string(hops[1].Peer())
		}
		lose(FailFaulty)
		if got := planned(); got != "b'" {
			t.Fatalf("%s after a failure of b", got)
		}
		time.Sleep(time.Minute)
		s.hops[1].Offer.Record, s.hops[1].bad = all[1], false // it was only unlucky and is asked again
		lose(FailFaulty)
		planned()
		time.Sleep(time.Hour)
		for range 2 { // nobody else has failed more than that
			lose(FailBusy)
			time.Sleep(time.Minute)
			if got := planned(); got != "b'" {
				t.Errorf("%s is asked, which failed twice, and b' was only busy", got)
			}
		}
		lose(FailLeaving)
		s.p.parts.Directory = all[:3]
		if got := planned(); got != "b" {
			t.Errorf("%s is asked where there is only b", got)
		}
		s.Close()
		s.p.parts.Exchange.Wait()
	})
}
