package payment

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/farlabs/inference"
)

// sign makes a voucher of the test client for the test node.
func (w *world) sign(series, wei uint64) *inference.Voucher {
	v := &inference.Voucher{Node: w.meterCfg.Wallet, Series: series, Cumulative: inference.WeiOf(wei)}
	DevelopmentDomain.SignVoucher(w.purseCfg.Key, v)
	return v
}

func (w *world) info(session byte) OpenInfo {
	return OpenInfo{Peer: "client", Terms: Terms{
		Session: inference.SessionID{session}, Blocks: inference.BlockRange{Start: 0, End: 2},
		Quote: inference.Quote{inference.WeiOf(10), inference.WeiOf(10), inference.WeiOf(10), inference.WeiOf(1), inference.WeiOf(10)},
	}}
}

func (w *world) account(session byte, v *inference.Voucher) *Account {
	w.t.Helper()
	a, err := w.meter.Open(w.info(session), v)
	w.must(err)
	return a
}

func TestReplayedLowerAndForeignVouchersAreRefused(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 1000))
	w.must(a.Charge(inference.LineDecode, 50))
	a.Sent(inference.LineDecode, 50)

	altered := func(change func(*inference.Voucher)) *inference.Voucher {
		v := w.sign(5, 2000)
		change(v)
		return v
	}
	foreignNode := &inference.Voucher{Node: testKey(t, 50).Address(), Series: 5, Cumulative: inference.WeiOf(5000)}
	DevelopmentDomain.SignVoucher(w.purseCfg.Key, foreignNode)
	foreignPayer := &inference.Voucher{Node: w.meterCfg.Wallet, Series: 5, Cumulative: inference.WeiOf(5000)}
	DevelopmentDomain.SignVoucher(testKey(t, 51), foreignPayer)
	foreignChain := &inference.Voucher{Node: w.meterCfg.Wallet, Series: 5, Cumulative: inference.WeiOf(5000)}
	Domain{ChainID: 56}.SignVoucher(w.purseCfg.Key, foreignChain)

	tests := []struct {
		name string
		v    *inference.Voucher
		want error
	}{
		{"replayed", w.sign(5, 1000), ErrStaleVoucher},
		{"lower", w.sign(5, 999), ErrStaleVoucher},
		{"zero", w.sign(5, 0), ErrStaleVoucher},
		{"foreign node", foreignNode, ErrForeignNode},
		{"foreign payer", foreignPayer, ErrForeignSeries},
		{"foreign chain", foreignChain, ErrSignature},
		{"another series", w.sign(6, 5000), ErrForeignSeries},
		{"raised after signing", altered(func(v *inference.Voucher) { v.Cumulative.Hi = 1 }), ErrSignature},
		{"no signature", altered(func(v *inference.Voucher) { v.Signature = inference.Signature{} }), ErrSignature},
	}
	for _, c := range tests {
		if _, err := a.Voucher(c.v); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, c := range tests[3:] {
		if c.want == ErrForeignSeries {
			continue // a session of its own, below
		}
		if _, err := w.meter.Open(w.info(2), c.v); !errors.Is(err, c.want) {
			t.Errorf("open with %s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := w.meter.Open(w.info(1), w.sign(6, 5000)); !errors.Is(err, ErrForeignSeries) {
		t.Errorf("session taken over by another series: %v", err)
	}
	if _, err := w.meter.Open(w.info(2), w.sign(5, 1000)); !errors.Is(err, ErrStaleVoucher) {
		t.Errorf("open with a replayed voucher: %v", err)
	}
	if _, err := w.meter.Open(w.info(2), nil); !errors.Is(err, ErrNoVoucher) {
		t.Errorf("open without voucher: %v", err)
	}
	thief := w.info(2)
	thief.Peer = "thief"
	if _, err := w.meter.Open(thief, w.sign(5, 3000)); !errors.Is(err, ErrForeignSeries) {
		t.Errorf("another peer's use of the series: %v", err)
	}

	// Nothing of it left a trace, and the session goes on.
	if v := w.meter.Vouchers(); len(v) != 1 || v[0].Cumulative != inference.WeiOf(1000) {
		t.Errorf("vouchers %v", v)
	}
	w.must(a.Charge(inference.LineDecode, 50))
	r, err := a.Voucher(w.sign(5, 1001))
	w.must(err)
	if r.Units[inference.LineDecode] != 50 || r.Cumulative != inference.WeiOf(500) {
		t.Errorf("receipt %+v", r)
	}
}

func TestReplaysAreRefusedAfterARestartToo(t *testing.T) {
	w := newTestWorld(t)
	w.account(1, w.sign(5, 1000))
	w.meter.kill()
	w.startMeter()
	for _, open := range []bool{false, true} {
		if open { // a session that could have overtaken them
			w.account(2, w.sign(5, 1001))
		}
		for _, wei := range []uint64{1, 999, 1000} {
			if _, err := w.meter.Open(w.info(3), w.sign(5, wei)); !errors.Is(err, ErrStaleVoucher) {
				t.Errorf("%d wei: %v", wei, err)
			}
		}
	}
}

func TestOpensMayOvertakeEachOther(t *testing.T) {
	w := newTestWorld(t)
	w.account(1, w.sign(5, 300))
	w.account(2, w.sign(5, 100))
	w.account(3, w.sign(5, 200))
	for _, wei := range []uint64{100, 200, 300} {
		if _, err := w.meter.Open(w.info(4), w.sign(5, wei)); !errors.Is(err, ErrStaleVoucher) {
			t.Errorf("%d wei once more: %v", wei, err)
		}
	}
	if v := w.meter.Vouchers()[0]; v.Cumulative != inference.WeiOf(300) {
		t.Errorf("highest voucher %s", v.Cumulative)
	}
	// Within a session they cannot, nor where no other session is open.
	a := w.meter.sessions[inference.SessionID{1}]
	_, err := a.Voucher(w.sign(5, 400))
	w.must(err)
	b := w.meter.sessions[inference.SessionID{2}]
	_, err = b.Voucher(w.sign(5, 350))
	w.must(err)
	for _, wei := range []uint64{350, 320} {
		if _, err := a.Voucher(w.sign(5, wei)); !errors.Is(err, ErrStaleVoucher) {
			t.Errorf("%d wei in the same session: %v", wei, err)
		}
	}
	// Not forever: the window is bounded, and older values count as seen.
	for i := range uint64(seenVouchers) {
		_, err := a.Voucher(w.sign(5, 1000+i))
		w.must(err)
	}
	if _, err := w.meter.Open(w.info(4), w.sign(5, 250)); !errors.Is(err, ErrStaleVoucher) {
		t.Errorf("from before the window: %v", err)
	}
	for _, a := range w.meter.sessions {
		_, err := a.Close(inference.OutcomeOK)
		w.must(err)
	}
	w.account(4, w.sign(5, 3000))
	_, err = w.meter.sessions[inference.SessionID{4}].Close(inference.OutcomeOK)
	w.must(err)
	if _, err := w.meter.Open(w.info(5), w.sign(5, 2999)); !errors.Is(err, ErrStaleVoucher) {
		t.Errorf("lower, and nobody to overtake it: %v", err)
	}
}

func TestCreditEndsWithAnErrorThatSaysHowMuchIsMissing(t *testing.T) {
	w := newTestWorld(t)
	w.meter.cfg.Credit = DefaultCredit
	a := w.account(1, w.sign(5, 100)) // pays 5 tokens of 2 blocks at 10 wei
	for i := range 5 + DefaultCredit {
		if err := a.Charge(inference.LineDecode, 2); err != nil {
			t.Fatalf("token %d: %v", i, err)
		}
		a.Sent(inference.LineDecode, 2)
	}
	err := a.Charge(inference.LineDecode, 2)
	var c *CreditError
	if !errors.Is(err, ErrCreditExhausted) || !errors.As(err, &c) {
		t.Fatalf("error %v", err)
	}
	if c.Missing != inference.WeiOf(20) || c.Credit != inference.WeiOf(1280) || c.Tokens != 64 {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(err.Error(), "must rise by 20 wei") {
		t.Errorf("says %q", err)
	}
	// Another session of the series has no credit of its own.
	b := w.account(2, w.sign(5, 101))
	if err := b.Charge(inference.LineDecode, 2); !errors.Is(err, ErrCreditExhausted) {
		t.Errorf("second session: %v", err)
	}
	// Another series does.
	w.must(w.account(3, w.sign(6, 1)).Charge(inference.LineDecode, 2*DefaultCredit))
	if _, err := a.Voucher(w.sign(5, 120)); err != nil {
		t.Fatal(err)
	}
	w.must(a.Charge(inference.LineDecode, 2))
	if err := b.Charge(inference.LineDecode, 2); !errors.Is(err, ErrCreditExhausted) {
		t.Errorf("the same money twice: %v", err)
	}
	a.Refund(inference.LineDecode, 2)
	w.must(b.Charge(inference.LineDecode, 2))
}

func TestStrangersPayAheadWithoutCredit(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 100))
	w.must(a.Charge(inference.LinePrefill, 10))
	if err := a.Charge(inference.LineDecode, 1); !errors.Is(err, ErrCreditExhausted) {
		t.Errorf("error %v", err)
	}
}

func TestFreeNodeServesUponAnyVoucher(t *testing.T) {
	w := newTestWorld(t)
	info := w.info(1)
	info.Quote = inference.Quote{}
	a, err := w.meter.Open(info, w.sign(5, 1))
	w.must(err)
	w.must(a.Charge(inference.LineDecode, 1<<40))
	a.Sent(inference.LineDecode, 1<<40)
	r, err := a.Close(inference.OutcomeOK)
	w.must(err)
	if r.Units[inference.LineDecode] != 1<<40 || !r.Amount.IsZero() {
		t.Errorf("receipt %+v", r)
	}
}

func TestAgreedPriceBelowTheNodesIsRefused(t *testing.T) {
	w := newTestWorld(t)
	info := w.info(1)
	info.Ask = info.Quote
	info.Ask[inference.LineCached] = inference.WeiOf(2)
	if _, err := w.meter.Open(info, w.sign(5, 1)); !errors.Is(err, ErrQuote) {
		t.Errorf("error %v", err)
	}
}

func TestUndeliveredWorkIsNotBilled(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 1000))
	w.must(a.Charge(inference.LinePrefill, 40))
	a.Sent(inference.LinePrefill, 10)
	a.Refund(inference.LinePrefill, 5)
	a.Sent(inference.LineDecode, 7) // was never charged
	r, err := a.Close(inference.OutcomeAbort)
	w.must(err)
	if r.Units != (inference.Units{10}) || r.Amount != inference.WeiOf(100) || r.Outcome != inference.OutcomeAbort {
		t.Errorf("receipt %+v", r)
	}
	again, err := a.Close(inference.OutcomeOK)
	w.must(err)
	if again != r {
		t.Errorf("closed again: %+v", again)
	}
	if err := a.Charge(inference.LineDecode, 1); !errors.Is(err, ErrAccountClosed) {
		t.Errorf("charge after close: %v", err)
	}
	// What was open is free for others: 1000 − 100 wei.
	b := w.account(2, w.sign(5, 1001))
	w.must(b.Charge(inference.LineDecode, 90))
}

func TestReopenedSessionGoesOnCounting(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 10_000))
	w.must(a.Charge(inference.LinePrefill, 20))
	a.Sent(inference.LinePrefill, 20)
	again := w.info(1)
	again.Epoch, again.Blocks = 3, inference.BlockRange{Start: 1, End: 9}
	again.Quote[inference.LineDecode] = inference.WeiOf(99)
	b, err := w.meter.Open(again, nil)
	w.must(err)
	w.must(b.Charge(inference.LineDecode, 8))
	b.Sent(inference.LineDecode, 8)
	r, err := b.Receipt()
	w.must(err)
	if r.Units != (inference.Units{20, 8}) || r.Epoch != 3 || r.Blocks != again.Blocks || r.Amount != inference.WeiOf(280) {
		t.Errorf("receipt %+v", r)
	}
	again.Peer = "thief"
	if _, err := w.meter.Open(again, nil); !errors.Is(err, ErrNoVoucher) {
		t.Errorf("another peer without voucher: %v", err)
	}
	// After the node's death, and after the session's end, it goes on too.
	w.meter.kill()
	w.startMeter()
	again.Peer = "client"
	c, err := w.meter.Open(again, w.sign(5, 10_001))
	w.must(err)
	w.must(c.Charge(inference.LineRecovery, 28))
	c.Sent(inference.LineRecovery, 28)
	if r, err = c.Close(inference.OutcomeOK); err != nil || r.Units != (inference.Units{20, 8, 0, 0, 28}) {
		t.Errorf("receipt %+v: %v", r, err)
	}
	if u := w.meter.Usage().Total(); u.Sessions != 1 || u.Units != r.Units {
		t.Errorf("usage %+v", u)
	}
}

func TestChargeAndSentAllocateNothing(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 1<<60))
	n := testing.AllocsPerRun(1000, func() {
		if a.Charge(inference.LineDecode, 2) != nil {
			t.Fatal("refused")
		}
		a.Sent(inference.LineDecode, 2)
	})
	if n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

func TestConcurrentSessionsOfOneSeriesAreCountedOnce(t *testing.T) {
	w := newTestWorld(t)
	w.account(100, w.sign(5, 1))
	var wg, opened sync.WaitGroup
	opened.Add(8)
	for i := range 8 {
		wg.Go(func() {
			a, err := w.meter.Open(w.info(byte(i)), w.sign(5, 1000*uint64(1+i)))
			opened.Done()
			if err != nil {
				t.Error(err)
				return
			}
			opened.Wait()
			for range 20 {
				if a.Charge(inference.LineDecode, 1) == nil {
					a.Sent(inference.LineDecode, 1)
				}
			}
			if _, err := a.Close(inference.OutcomeOK); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	u := w.meter.Usage().Total()
	if want, _ := w.info(0).Quote.Cost(u.Units); u.Amount != want || u.Amount.Cmp(w.meter.Vouchers()[0].Cumulative) > 0 {
		t.Errorf("usage %+v", u)
	}
}

// Any bytes in the journal give an error or a state that can be written and
// read again.

// A credit that nobody could use up must not wrap round to a small one, nor
// keep sessions from opening.
func TestACreditBeyondAllAmountsIsWithoutBound(t *testing.T) {
	dear := inference.Quote{inference.LineDecode: {Hi: math.MaxUint64}}
	cheap := inference.Quote{inference.LineDecode: inference.WeiOf(10)}
	blocks := inference.BlockRange{Start: 0, End: 4}
	most := inference.Wei{Hi: math.MaxUint64, Lo: math.MaxUint64}
	for _, c := range []struct {
		quote  inference.Quote
		tokens uint64
		want   inference.Wei
	}{
		{cheap, 0, inference.Wei{}},
		{cheap, 64, inference.WeiOf(64 * 4 * 10)},
		{cheap, 1 << 62, most}, // 4 blocks: 2^64 token·blocks
		{cheap, math.MaxUint64, most},
		{dear, 64, most},
		{inference.Quote{}, math.MaxUint64, inference.Wei{}},
	} {
		if got := creditOf(&Terms{Blocks: blocks, Quote: c.quote}, c.tokens); got != c.want {
			t.Errorf("%d tokens at %s: %s, want %s", c.tokens, c.quote[inference.LineDecode], got, c.want)
		}
	}
	w := newTestWorld(t)
	w.meter.cfg.Credit = 1 << 63 // two blocks: wrapped round it would be 0
	a := w.account(1, w.sign(5, 1))
	w.must(a.Charge(inference.LineDecode, 1000))
}
