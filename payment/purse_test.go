package payment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

// flat is a quote of one wei per token·block on every line.
var flat = inference.Quote{inference.WeiOf(1), inference.WeiOf(1), inference.WeiOf(1), inference.WeiOf(1), inference.WeiOf(1)}

func (w *world) hop(session byte, blocks int) HopTerms {
	return HopTerms{
		Terms:  Terms{Session: inference.SessionID{session}, Model: "toy", Blocks: inference.BlockRange{Start: 0, End: blocks}, Quote: flat},
		Wallet: w.meterCfg.Wallet, Signer: w.signer(),
	}
}

func (w *world) tab(h HopTerms) *Tab {
	w.t.Helper()
	t, err := w.purse.Open(h)
	w.must(err)
	return t
}

// promise is what a voucher promises, 0 for none.
func (w *world) promise(t *Tab, line inference.Line, n uint64) uint64 {
	w.t.Helper()
	v, err := t.Order(line, n)
	w.must(err)
	if v == nil {
		return 0
	}
	w.must(DevelopmentDomain.VerifyVoucher(v))
	return v.Cumulative.Lo
}

func TestVoucherOfTheNextTrancheComesWhenATrancheStarts(t *testing.T) {
	w := newTestWorld(t)
	tab := w.tab(w.hop(1, 10))
	// A prompt of 100 tokens is a tranche; the first of decoding is promised too.
	if got := w.promise(tab, inference.LinePrefill, 1000); got != 1320 {
		t.Fatalf("with the prompt: %d", got)
	}
	for token := range 96 {
		want := uint64(0)
		if token%TrancheTokens == 0 {
			want = 1320 + 320*uint64(1+token/TrancheTokens)
		}
		if got := w.promise(tab, inference.LineDecode, 10); got != want {
			t.Errorf("token %d: voucher %d, want %d", token, got, want)
		}
	}
	if got := w.purse.Signed(w.meterCfg.Wallet); got != inference.WeiOf(2280) {
		t.Errorf("promised %s", got)
	}
}

func TestLimitKeepsTheLastVouchersFromPromisingMore(t *testing.T) {
	w := newTestWorld(t)
	h := w.hop(1, 10)
	h.Limit = 1000 + 400
	tab := w.tab(h)
	total := w.promise(tab, inference.LinePrefill, 1000)
	for range 40 {
		total = max(total, w.promise(tab, inference.LineDecode, 10))
	}
	if total != 1400 {
		t.Errorf("promised %d for 1400", total)
	}
	// It is no ceiling: what is ordered beyond it is paid.
	if got := w.promise(tab, inference.LineDecode, 10); got != 1410 {
		t.Errorf("beyond the limit: %d", got)
	}
}

func TestUnusedPromisesCarryOver(t *testing.T) {
	w := newTestWorld(t)
	p := w.session(1, 10, 5)
	w.end(p)
	signed := w.purse.Signed(w.meterCfg.Wallet)
	// The next session is covered by what is left, its voucher rises by 1 wei.
	q, v := w.begin(1, 3)
	if rise, _ := v.Cumulative.Sub(signed); rise.Cmp(inference.WeiOf(40*1_000_033)) > 0 {
		t.Errorf("rose by %s wei", rise)
	}
	w.open(q, v)
	w.serve(q, inference.LinePrefill, 3)
	w.end(q)
	w.equal()
}

func TestFreeNodesGetOneVoucherPerOpen(t *testing.T) {
	w := newTestWorld(t)
	h := w.hop(1, 10)
	h.Quote = inference.Quote{}
	tab := w.tab(h)
	if got := w.promise(tab, inference.LinePrefill, 1000); got != 1 {
		t.Errorf("first voucher %d", got)
	}
	for range 100 {
		if got := w.promise(tab, inference.LineDecode, 10); got != 0 {
			t.Errorf("voucher %d", got)
		}
	}
	w.tab(h)
	if got := w.promise(tab, inference.LineRecovery, 1000); got != 2 {
		t.Errorf("voucher of the second open %d", got)
	}
	v, err := tab.Voucher()
	w.must(err)
	if v.Cumulative != inference.WeiOf(3) {
		t.Errorf("voucher on demand %s", v.Cumulative)
	}
}

func TestVouchersRiseWhateverTheSessionsDo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "rise")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := newWorld(rt, func() string { return filepath.Join(dir, fmt.Sprint(time.Now().UnixNano())) }, false)
		defer w.stop()
		last := inference.Wei{}
		for range rapid.IntRange(1, 60).Draw(rt, "orders") {
			h := w.hop(rapid.Byte().Draw(rt, "session")%4, rapid.IntRange(1, 3).Draw(rt, "blocks"))
			h.Limit = rapid.Uint64Range(0, 300).Draw(rt, "limit")
			tab := w.tab(h)
			for range rapid.IntRange(1, 5).Draw(rt, "n") {
				v, err := tab.Order(inference.Line(rapid.IntRange(0, 4).Draw(rt, "line")), rapid.Uint64Range(0, 200).Draw(rt, "units"))
				w.must(err)
				if v == nil {
					continue
				}
				if v.Cumulative.Cmp(last) <= 0 {
					rt.Fatalf("%s wei after %s", v.Cumulative, last)
				}
				last = v.Cumulative
				// Everything ordered is covered, and at most two tranches more per session.
				cost, ahead := inference.Wei{}, uint64(0)
				for _, t := range w.purse.tabs {
					c, _ := t.hop.Quote.Cost(t.tally.Due())
					cost, _ = cost.Add(c)
					ahead += 2 * TrancheTokens * 3
				}
				most, _ := cost.Add(inference.WeiOf(ahead + 300))
				if last.Cmp(cost) < 0 || last.Cmp(most) > 0 {
					rt.Fatalf("%s wei promised, %s ordered", last, cost)
				}
			}
			if rapid.Bool().Draw(rt, "close") {
				w.must(tab.Close())
			}
		}
	})
}

func TestFalseReceiptsAreRefusedAndChangeNothing(t *testing.T) {
	w := newTestWorld(t)
	p := w.session(4, 10, 40)
	good, err := p.account.Close(inference.OutcomeOK)
	w.must(err)
	resign := func(change func(*inference.Receipt)) *inference.Receipt {
		r := good
		change(&r)
		DevelopmentDomain.SignReceipt(w.meterCfg.Key, &r)
		return &r
	}
	price := func(r *inference.Receipt) {
		r.Amount, _ = testQuote.Cost(r.Units)
		r.Cumulative = r.Amount
	}
	bad := map[string]*inference.Receipt{
		"one unit more": resign(func(r *inference.Receipt) { r.Units[inference.LineDecode]++; price(r) }),
		"another line": resign(func(r *inference.Receipt) {
			r.Units[inference.LineDecode] -= 4
			r.Units[inference.LineDraft] += 4
			price(r)
		}),
		"dearer":                resign(func(r *inference.Receipt) { r.Amount.Lo++ }),
		"above the vouchers":    resign(func(r *inference.Receipt) { r.Cumulative.Hi++ }),
		"sum below its session": resign(func(r *inference.Receipt) { r.Cumulative = inference.Wei{} }),
		"another series":        resign(func(r *inference.Receipt) { r.Series++ }),
		"another wallet":        resign(func(r *inference.Receipt) { r.Node[0]++ }),
		"another payer":         resign(func(r *inference.Receipt) { r.Payer[0]++ }),
		"another model":         resign(func(r *inference.Receipt) { r.Digest[0]++ }),
		"overflow":              resign(func(r *inference.Receipt) { r.Units[0] = ^uint64(0) }),
		"signed by another":     resign(func(*inference.Receipt) {}),
	}
	DevelopmentDomain.SignReceipt(testKey(t, 77), bad["signed by another"])
	before := p.tab.Tally()
	for name, r := range bad {
		var e *ReceiptError
		if err := p.tab.Receipt(r); !errors.Is(err, ErrReceipt) || !errors.As(err, &e) || e.Session != p.id {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p.tab.Tally() != before {
		t.Errorf("tally %+v, before %+v", p.tab.Tally(), before)
	}
	unknown := resign(func(r *inference.Receipt) { r.Session[3]++ })
	if err := p.tab.Receipt(unknown); !errors.Is(err, ErrUnknownSession) {
		t.Errorf("unknown session: %v", err)
	}
	w.must(p.tab.Receipt(&good))
	w.must(p.tab.Receipt(&good))
	w.must(p.tab.Close())
	p.account, p.tab = nil, nil
	w.equal()
}

func TestNodeMayBillLess(t *testing.T) {
	w := newTestWorld(t)
	p := w.session(4, 10, 40)
	r, err := p.account.Close(inference.OutcomeNodeFault)
	w.must(err)
	r.Units = inference.Units{7}
	r.Amount, _ = testQuote.Cost(r.Units)
	r.Cumulative = r.Amount
	DevelopmentDomain.SignReceipt(w.meterCfg.Key, &r)
	w.must(p.tab.Receipt(&r))
	if u := w.purse.Usage().Total(); u.Units != r.Units || u.Unsettled != 0 {
		t.Errorf("usage %+v", u)
	}
}

func TestConcurrentOrdersPromiseEnough(t *testing.T) {
	w := newTestWorld(t)
	var wg sync.WaitGroup
	for i := range 8 {
		tab := w.tab(w.hop(byte(i), 1))
		wg.Go(func() {
			for range 100 {
				if _, err := tab.Order(inference.LineDecode, 1); err != nil {
					t.Error(err)
				}
				tab.Delivered(inference.LineDecode, 1)
			}
		})
	}
	wg.Wait()
	if signed := w.purse.Signed(w.meterCfg.Wallet); signed.Cmp(inference.WeiOf(800)) < 0 || signed.Cmp(inference.WeiOf(8*(128+32)+8)) > 0 {
		t.Errorf("promised %s", signed)
	}
}

// Any bytes in the journal give an error or a state that can be written and
// read again.
