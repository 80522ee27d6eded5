package payment

import (
	"errors"
	"testing"

	"github.com/farlabs/inference"
)

// A final receipt goes to the peer that opened the series, or to one that has
// shown the payer's signature on another; whoever else knows the session's id
// learns no more than that there is nothing.
func TestFinalReceiptIsForThePayersPeers(t *testing.T) {
	w := newTestWorld(t)
	p, v := w.begin(2, 10)
	w.open(p, v)
	w.charge(p, inference.LinePrefill, 10)
	w.sent(p, inference.LinePrefill, 10)
	if _, err := p.account.Close(inference.OutcomeAbort); err != nil {
		t.Fatal(err)
	}
	asks := func(peer inference.PeerID) error {
		_, err := w.meter.Settle(peer, p.id)
		return err
	}
	refused := func(peer inference.PeerID) {
		t.Helper()
		if err := asks(peer); !errors.Is(err, ErrUnknownSession) {
			t.Errorf("%q asks: %v", peer, err)
		}
	}
	w.must(asks("client"))
	refused("thief")
	refused("")
	refused("next process")

	open := func(peer inference.PeerID, key *Key, series, session uint64) {
		t.Helper()
		v := inference.Voucher{Node: w.meterCfg.Wallet, Series: series, Cumulative: inference.Wei{Hi: 1}}
		DevelopmentDomain.SignVoucher(key, &v)
		terms := p.terms
		terms.Session = inference.SessionID{0xff, byte(session)}
		if _, err := w.meter.Open(OpenInfo{Terms: terms, Peer: peer}, &v); err != nil {
			t.Fatal(err)
		}
	}
	open("thief", childKey(7), 1, 1) // with a key of its own
	refused("thief")
	open("next process", w.purseCfg.Key, p.series+1000, 2)
	w.must(asks("next process"))

	w.must(w.meter.Close()) // what a new process of the node remembers
	w.startMeter()
	w.must(asks("client"))
	w.must(asks("next process"))
	refused("thief")
}

func TestReopenedTallyHasNothingOfEarlierEpochsUnderWay(t *testing.T) {
	for _, c := range []struct {
		name                string
		ordered, done       uint64 // before, of it known to be delivered
		figure, ahead       uint64
		wantDone, wantBound uint64
		refused             bool
	}{
		{"all failed", 100, 0, 0, 10, 0, 10, false},
		{"some were sent on", 100, 20, 30, 10, 30, 40, false},
		{"as known", 100, 90, 90, 10, 90, 100, false},
		{"the node has forgotten", 100, 50, 20, 10, 20, 30, false},
		{"of what is ahead nothing can be done", 100, 0, 91, 10, 0, 100, true},
		{"more than ever ordered", 100, 0, 101, 0, 0, 100, true},
		{"nothing ordered", 0, 0, 0, 0, 0, 0, false},
	} {
		const l = inference.LineDecode
		var tally Tally
		if err := tally.Take(l, c.ordered); err != nil {
			t.Fatal(err)
		}
		tally.Deliver(l, c.done)
		err := tally.Reopen(inference.Units{l: c.figure}, inference.Units{l: c.ahead})
		if (err != nil) != c.refused || tally.Done[l] != c.wantDone || tally.Bound[l] != c.wantBound {
			t.Errorf("%s: %+v, %v", c.name, tally, err)
		}
		if !c.refused && tally.Open[l] != c.ahead {
			t.Errorf("%s: %d under way", c.name, tally.Open[l])
		}
	}
}
