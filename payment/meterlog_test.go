package payment

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment/journal"
)

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
	if _, err := w.meter.Settle("client", inference.SessionID{0, 0, 1}); !errors.Is(err, ErrUnknownSession) {
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
	if r, err := w.meter.Settle("client", a.terms.Session); err != nil || r.Units != want.Units {
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
