package payment

import (
	"errors"
	"testing"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

func TestWithdrawnOrdersAreNotBillableAndPromiseNothingMore(t *testing.T) {
	w := newTestWorld(t)
	p, v := w.begin(1, 300) // 300 positions of prompt are ordered
	w.open(p, v)
	blocks := uint64(p.terms.Blocks.Len())
	first := w.purse.Signed(w.meterCfg.Wallet)
	for range 5 {
		w.must(p.tab.Withdraw(inference.LinePrefill, 300*blocks))
		if got := p.tab.Tally(); got != (Tally{}) {
			t.Fatalf("after the withdrawal %+v", got)
		}
		if _, err := p.tab.Order(inference.LinePrefill, 300*blocks); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.tab.Tally().Bound[inference.LinePrefill]; got != 300*blocks {
		t.Errorf("bound %d for %d ordered", got, 300*blocks)
	}
	if got := w.purse.Signed(w.meterCfg.Wallet); got != first {
		t.Errorf("promised %s, at first %s", got, first)
	}
	r, err := p.account.Receipt()
	w.must(err)
	r.Units[inference.LinePrefill] = 300*blocks + 1
	r.Amount, _ = p.terms.Quote.Cost(r.Units)
	r.Cumulative = r.Amount
	w.meterCfg.Domain.SignReceipt(w.meterCfg.Key, &r)
	var wrong *ReceiptError
	if err := p.tab.Receipt(&r); !errors.As(err, &wrong) {
		t.Errorf("a receipt of more than was sent: %v", err)
	}
}

func TestReceiptCannotKeepWhatIsWithdrawn(t *testing.T) {
	for _, outcome := range []inference.Outcome{inference.OutcomeOpen, inference.OutcomeNodeFault} {
		w := newTestWorld(t)
		p, v := w.begin(1, 300)
		w.open(p, v)
		n := 300 * uint64(p.terms.Blocks.Len())
		r, err := p.account.Receipt()
		w.must(err)
		r.Units[inference.LinePrefill], r.Outcome = n, outcome
		r.Amount, _ = p.terms.Quote.Cost(r.Units)
		r.Cumulative = r.Amount
		w.meterCfg.Domain.SignReceipt(w.meterCfg.Key, &r)
		w.must(p.tab.Receipt(&r)) // it was ordered, as far as the tab knows
		w.must(p.tab.Withdraw(inference.LinePrefill, n))
		if got := p.tab.Tally(); got != (Tally{}) {
			t.Errorf("%s: %+v", outcome, got)
		}
		// What the file says after the process died.
		state := newPurseState(w.purse.series)
		enc := encoder{}
		enc.tab(p.tab)
		w.must(state.apply(enc))
	}
}

func TestWithdrawalSurvivesTheProcess(t *testing.T) {
	w := newTestWorld(t)
	p, _ := w.begin(1, 300)
	w.must(p.tab.Withdraw(inference.LinePrefill, 300*uint64(p.terms.Blocks.Len())))
	w.must(w.purse.journal.Sync())
	w.purse.kill()
	w.startPurse()
	for _, old := range w.purse.tabs {
		if old.tally != (Tally{}) || old.horizon.Started >= old.hop.tranche() {
			t.Errorf("inherited %+v, horizon %+v", old.tally, old.horizon)
		}
	}
	if len(w.purse.tabs) != 1 {
		t.Errorf("%d tabs inherited", len(w.purse.tabs))
	}
}

// Whatever is ordered, withdrawn and ordered again, the promise stays within
// one tranche of that for the orders alone.
func TestOrdersAgainPromiseAtMostATrancheMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const tranche = 320
		h := Horizon{Tranche: tranche}
		due := rapid.Uint64Range(0, 2000).Draw(rt, "before")
		h.Reach(due)
		parts := rapid.SliceOfN(rapid.Uint64Range(1, 3000), 1, 5).Draw(rt, "orders")
		var highest uint64
		for i := range rapid.IntRange(2, 32).Draw(rt, "times") {
			at := due
			for _, n := range parts {
				at += n
				h.Reach(at)
				if i == 0 {
					highest = max(highest, h.Promised())
				} else if got := h.Promised(); got > highest+tranche {
					rt.Fatalf("promised %d, at first %d", got, highest)
				}
			}
			h.Withdraw(due)
			if h.Started < due {
				rt.Fatalf("started %d of %d due", h.Started, due)
			}
		}
	})
}
