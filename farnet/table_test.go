package farnet

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

func at(sequence uint64) func(*inference.NodeRecord) {
	return func(r *inference.NodeRecord) { r.Sequence = sequence }
}

func TestOlderSequenceIsIgnored(t *testing.T) {
	tab := newTable()
	if err := tab.apply(mustSign(t, "a", at(5)), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{5, 4, 0} {
		if err := tab.apply(mustSign(t, "a", at(seq)), time.Hour); !errors.Is(err, ErrStale) {
			t.Errorf("sequence %d after 5: %v", seq, err)
		}
	}
	if err := tab.apply(mustSign(t, "a", at(6)), time.Hour); err != nil {
		t.Errorf("sequence 6 after 5: %v", err)
	}
	if rows := tab.list(nil); len(rows) != 1 || rows[0].record.Sequence != 6 {
		t.Errorf("rows %+v", rows)
	}
}

func TestGoodbyeRemovesAndReplayDoesNotBringBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		old := mustSign(t, "a", at(5))
		_ = tab.apply(old, time.Hour)
		gone := mustSign(t, "a", func(r *inference.NodeRecord) { r.Sequence, r.State = 6, inference.StateGone })
		if err := tab.apply(gone, time.Hour); err != nil {
			t.Fatal(err)
		}
		if len(tab.list(nil)) != 0 {
			t.Error("still there after its goodbye")
		}
		if err := tab.apply(old, time.Hour); !errors.Is(err, ErrStale) {
			t.Errorf("replayed after the goodbye: %v", err)
		}
		_ = tab.apply(mustSign(t, "a", at(7)), time.Hour)
		time.Sleep(2 * time.Minute)
		tab.sweep()
		if len(tab.list(nil)) != 0 || tab.knows(old.peer) {
			t.Error("still there after three intervals")
		}
		if err := tab.apply(mustSign(t, "a", at(7)), time.Hour); !errors.Is(err, ErrStale) {
			t.Errorf("replayed after it expired: %v", err)
		}
	})
}

func TestSecondHandRecordLivesNoLongerThanTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		_ = tab.apply(mustSign(t, "a", nil), 10*time.Second)
		time.Sleep(11 * time.Second)
		if n := len(tab.list(nil)); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestTableIsBounded(t *testing.T) {
	tab := newTable()
	for i := range maxRowsPerPeer + 1 {
		err := tab.apply(mustSign(t, "a", func(r *inference.NodeRecord) { r.Digest = testDigest(fmt.Sprint(i)) }), time.Hour)
		if full := i >= maxRowsPerPeer; full != errors.Is(err, ErrTooLarge) {
			t.Errorf("model %d of one node: %v", i, err)
		}
	}
	tab = newTable()
	for i := range maxRowsPerModel + 1 {
		name := fmt.Sprint("node", i)
		s := mustSign(t, name, nil)
		if full, err := i >= maxRowsPerModel, tab.apply(s, time.Hour); full != errors.Is(err, ErrTooLarge) {
			t.Fatalf("node %d: %v", i, err)
		}
	}
	for i := range maxTombs + 10 {
		k := recordKey{"x", testDigest(fmt.Sprint(i))}
		tab.mu.Lock()
		tab.buryLocked(k, 1, time.Now())
		tab.mu.Unlock()
	}
	if len(tab.tombs) != maxTombs {
		t.Errorf("%d tombs", len(tab.tombs))
	}
}

func TestSlowReaderLosesItsFeedAndNobodyWaits(t *testing.T) {
	tab := newTable()
	f := tab.subscribe(func(notice) bool { return true })
	for i := range maxFeedEvents + 1 {
		_ = tab.apply(mustSign(t, "a", at(uint64(i+1))), time.Hour)
	}
	select {
	case <-f.lost:
	default:
		t.Error("the feed of a reader that fell behind goes on")
	}
	if len(tab.feeds) != 0 {
		t.Error("the feed is still in the table")
	}
}

func TestAccusedPeerIsHeldEvenWhenItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealth()
		if !h.accuse("p", true) || h.accuse("p", false) {
			t.Fatal("only the first accusation is news")
		}
		if h.clear("p") || !h.suspected("p") {
			t.Error("cleared while it is held")
		}
		time.Sleep(holdSuspect)
		if !h.clear("p") || h.suspected("p") {
			t.Error("not cleared afterwards")
		}
		// The second time within a minute counts double.
		h.accuse("p", true)
		time.Sleep(holdSuspect)
		if h.clear("p") {
			t.Error("a repeated accusation is held as long as the first")
		}
		time.Sleep(holdSuspect)
		if !h.clear("p") {
			t.Error("held for ever")
		}
		time.Sleep(2 * forgive)
		h.due()
		if len(h.suspects) != 0 {
			t.Error("never forgiven")
		}
		for i := range maxSuspects + 10 {
			h.accuse(testPeer(i), false)
		}
		if len(h.suspects) > maxSuspects {
			t.Errorf("%d suspects", len(h.suspects))
		}
	})
}

func TestSuspectIsProbedEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealth()
		h.accuse("p", false)
		probes, start := 0, time.Now()
		for time.Since(start) < 10*time.Minute {
			time.Sleep(250 * time.Millisecond)
			if len(h.due()) > 0 {
				probes++
				h.accuse("p", false)
			}
		}
		if probes < 10 || probes > 20 {
			t.Errorf("%d probes in ten minutes", probes)
		}
	})
}

func TestIntervalKeepsGossipConstant(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 30 * time.Second, 125: 30 * time.Second, 1000: 240 * time.Second, 1 << 20: maxInterval} {
		if got := interval(30*time.Second, n); got != want {
			t.Errorf("%d nodes: %v, want %v", n, got, want)
		}
	}
}

func TestGateAdmitsNoMoreThanItsLimit(t *testing.T) {
	g := gate{most: 2}
	var in []bool
	for range 3 {
		in = append(in, g.enter())
	}
	if !slices.Equal(in, []bool{true, true, false}) {
		t.Errorf("a gate of two admits %v", in)
	}
	g.leave()
	if !g.enter() {
		t.Error("a place that was left stays taken")
	}
}

func TestProviderStoreIsBounded(t *testing.T) {
	p, ctx := newProviderStore(), t.Context()
	for i := range maxProvidersPerKey + 5 {
		if err := p.Put(ctx, ds.NewKey(fmt.Sprint("/providers/model/", i)), []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if p.total != maxProvidersPerKey {
		t.Errorf("%d providers of one model", p.total)
	}
	for i := range maxProviders {
		_ = p.Put(ctx, ds.NewKey(fmt.Sprint("/providers/", i, "/p")), []byte{1})
	}
	if p.total != maxProviders {
		t.Errorf("%d providers in all", p.total)
	}
	res, err := p.Query(ctx, query.Query{Prefix: "/providers/model"})
	if err != nil {
		t.Fatal(err)
	}
	found, _ := res.Rest()
	if len(found) != maxProvidersPerKey {
		t.Errorf("%d found", len(found))
	}
	for _, e := range found {
		if err := p.Delete(ctx, ds.NewKey(e.Key)); err != nil {
			t.Fatal(err)
		}
	}
	if p.total != maxProviders-maxProvidersPerKey || p.perKey["/providers/model/"] != 0 {
		t.Errorf("%d left after deleting", p.total)
	}
}
