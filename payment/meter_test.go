package payment

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment/journal"
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

func TestSecondNodeOnTheSameFolderIsRefused(t *testing.T) {
	w := newTestWorld(t)
	if _, err := OpenMeter(w.meterCfg); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("error %v", err)
	}
}

func TestNodeForgetsTheOldestSessionsAndCheapestSeries(t *testing.T) {
	w := newTestWorld(t)
	for i := range maxEnded + 10 {
		a := &Account{meter: w.meter, opened: 86400 * uint64(i/1000), terms: w.info(1).Terms}
		a.terms.Session = inference.SessionID{byte(i), byte(i >> 8), 1}
		a.series = &series{key: seriesKey{series: uint64(i)}, voucher: inference.Voucher{Series: uint64(i), Cumulative: inference.WeiOf(uint64(i))}}
		a.state.Done[inference.LineDecode] = 1
		a.state.Outcome = inference.OutcomeOK
		w.must(w.meter.appendSeries(a.series))
		w.must(w.meter.appendSession(a, &a.terms, &a.state))
		w.meter.setSeries(a.series)
		w.meter.setSession(a)
	}
	w.meter.trim()
	if n := len(w.meter.sessions); n != maxEnded || w.meter.ended.Len() != maxEnded {
		t.Errorf("%d sessions are kept", n)
	}
	if _, err := w.meter.Settle(inference.SessionID{0, 0, 1}); !errors.Is(err, ErrUnknownSession) {
		t.Errorf("the oldest session: %v", err)
	}
	for i := range maxSeries {
		s := &series{key: seriesKey{series: uint64(100_000 + i)}, voucher: inference.Voucher{Series: uint64(100_000 + i), Cumulative: inference.WeiOf(5_000)}}
		w.meter.setSeries(s)
		w.must(w.meter.appendSeries(s))
	}
	w.meter.trim()
	if n := len(w.meter.series); n != maxSeries {
		t.Errorf("%d series are kept", n)
	}
	for _, v := range w.meter.Vouchers() {
		if v.Cumulative.Cmp(inference.WeiOf(5_000)) < 0 {
			t.Errorf("kept a voucher of %s wei", v.Cumulative)
			break
		}
	}
	before := w.meter.Usage()
	if sum := before.Total(); sum.Sessions != maxEnded+10 || sum.Units[inference.LineDecode] != maxEnded+10 {
		t.Errorf("usage %+v", sum)
	}
	w.meter.kill()
	w.startMeter()
	if after := w.meter.Usage(); after.Total().Sessions != before.Total().Sessions || after.Promised != before.Promised {
		t.Errorf("after a restart: %+v", after.Total())
	}
}

func TestForgottenSessionsStillCountAgainstTheVoucher(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 100))
	w.must(a.Charge(inference.LineDecode, 10))
	a.Sent(inference.LineDecode, 10)
	_, err := a.Close(inference.OutcomeOK)
	w.must(err)
	w.meter.mu.Lock()
	w.must(w.meter.journal.Append(append([]byte{recordForget}, a.terms.Session[:]...)))
	w.meter.forget(a)
	w.meter.mu.Unlock()
	for range 3 {
		if err := w.account(2, w.sign(5, w.meter.Vouchers()[0].Cumulative.Lo+1)).Charge(inference.LineDecode, 1); !errors.Is(err, ErrCreditExhausted) {
			t.Errorf("error %v", err)
		}
		w.meter.kill()
		w.startMeter()
	}
}

func TestJournalStaysShort(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 1<<60))
	for range 50_000 {
		w.must(a.Charge(inference.LineDecode, 2*TrancheTokens))
		a.Sent(inference.LineDecode, 2*TrancheTokens)
		if w.meter.journal.Size() > compactSize {
			_, err := a.Voucher(w.sign(5, 1<<60+a.saved))
			w.must(err)
		}
	}
	if size := w.meter.journal.Size(); size > compactSize+4096 {
		t.Errorf("%d bytes", size)
	}
	want, err := a.Receipt()
	w.must(err)
	w.meter.kill()
	w.startMeter()
	if r, err := w.meter.Settle(a.terms.Session); err != nil || r.Units != want.Units {
		t.Errorf("after a restart %v, want %v: %v", r.Units, want.Units, err)
	}
}

func TestWorkStopsWhenCountsCannotBeWritten(t *testing.T) {
	w := newTestWorld(t)
	a := w.account(1, w.sign(5, 1<<60))
	w.must(w.meter.journal.Abandon())
	w.must(a.Charge(inference.LineDecode, 2*TrancheTokens))
	a.Sent(inference.LineDecode, 2*TrancheTokens)
	if err := a.Charge(inference.LineDecode, 2); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if _, err := w.meter.Open(w.info(2), w.sign(5, 1<<61)); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("open: %v", err)
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

func TestRecordsHoldNoSecret(t *testing.T) {
	w := newTestWorld(t)
	w.end(w.session(2, 5, 5))
	for _, dir := range []string{w.meterCfg.Dir, w.purseCfg.Dir} {
		entries, err := os.ReadDir(dir)
		w.must(err)
		for _, e := range entries {
			info, err := e.Info()
			w.must(err)
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: mode %v", e.Name(), info.Mode())
			}
			b, err := os.ReadFile(dir + "/" + e.Name())
			w.must(err)
			if bytes.Contains(b, w.purseCfg.Key.secret.Serialize()) || bytes.Contains(b, w.meterCfg.Key.secret.Serialize()) {
				t.Errorf("%s holds a key", e.Name())
			}
		}
	}
}

// Any bytes in the journal give an error or a state that can be written and
// read again.
func FuzzMeterRecords(f *testing.F) {
	var e encoder
	s := &series{key: seriesKey{series: 3}, peer: "p", voucher: inference.Voucher{Series: 3, Cumulative: inference.WeiOf(9)}}
	add := func(fill func()) {
		e = e[:0]
		fill()
		f.Add([]byte(e), []byte(e))
	}
	a := &Account{series: s, terms: Terms{Blocks: inference.BlockRange{Start: 0, End: 2}, Quote: testQuote}}
	add(func() { e.series(s) })
	series := append([]byte(nil), e...)
	add(func() { e.session(a, &a.terms, &accountState{Outcome: inference.OutcomeOK}) })
	f.Add(series, []byte(e))
	add(func() { e.row(rowKey{"2026-01-02", "m", inference.Address{1}}, Row{Sessions: 1}) })
	f.Add(series, append([]byte{recordDrop}, make([]byte, 28)...))
	f.Add(series, append([]byte{recordForget}, make([]byte, 16)...))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		m := newMeterState()
		for _, r := range [][]byte{one, two, one, two} {
			_ = m.apply(r)
		}
		m.usage()
		m.vouchers()
		again := newMeterState()
		for _, s := range m.series {
			var e encoder
			e.series(s)
			if err := again.apply(e); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range m.sessions {
			var e encoder
			e.session(a, &a.terms, &a.state)
			if err := again.apply(e); err != nil {
				t.Fatal(err)
			}
		}
	})
}
