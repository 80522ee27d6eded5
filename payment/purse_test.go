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

func TestSeveralProcessesShareAFolder(t *testing.T) {
	w := newTestWorld(t)
	w.must(w.purse.Close()) // leaves its file to the first of the others
	purses := make([]*Purse, 4)
	var wg sync.WaitGroup
	for i := range purses {
		wg.Go(func() {
			var err error
			if purses[i], err = OpenPurse(w.purseCfg); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for i, p := range purses {
		if seen[p.Series()] {
			t.Errorf("series %d twice", p.Series())
		}
		seen[p.Series()] = true
		tab, err := p.Open(w.hop(byte(i), 1))
		w.must(err)
		_, err = tab.Order(inference.LineDecode, 5)
		w.must(err)
	}
	u, err := ReadSpending(w.purseCfg.Dir)
	w.must(err)
	if sum := u.Total(); sum.Sessions != 4 || sum.Units[inference.LineDecode] != 20 || sum.Unsettled != 4 {
		t.Errorf("while they run: %+v", sum)
	}
	purses[0].kill()
	w.must(purses[1].Close())
	w.startPurse()
	if n := len(w.purse.Claims(w.signer())); n != 2 {
		t.Errorf("%d claims taken over", n)
	}
	purses[2].kill()
	purses[3].kill()
	w.purse.kill()
	w.startPurse()
	if n := len(w.purse.Claims(w.signer())); n != 4 {
		t.Errorf("%d claims taken over", n)
	}
	u, err = ReadSpending(w.purseCfg.Dir)
	w.must(err)
	if sum := u.Total(); sum.Sessions != 4 || sum.Units[inference.LineDecode] != 20 {
		t.Errorf("after all of them: %+v", sum)
	}
	if files, _ := filepath.Glob(filepath.Join(w.purseCfg.Dir, "series-*")); len(files) != 2 {
		t.Errorf("files %v", files)
	}
}

func TestCrashWhileTakingOverCountsNothingTwice(t *testing.T) {
	w := newTestWorld(t)
	w.end(w.session(2, 5, 40))
	w.purse.kill()
	old := seriesPath(w.purseCfg.Dir, w.purse.Series(), purseSuffix)
	kept, err := os.ReadFile(old)
	w.must(err)
	w.startPurse()
	// The file that was taken over is back, as if the removal had never happened.
	w.must(os.WriteFile(old, kept, 0o600))
	w.purse.mu.Lock()
	w.purse.absorbed[w.sessions[0].series] = true
	w.must(w.purse.rewrite())
	w.purse.mu.Unlock()
	for range 3 {
		u, err := ReadSpending(w.purseCfg.Dir)
		w.must(err)
		if got := u.Total(); got.Sessions != 1 || got.Units != (inference.Units{10, 80}) || u.Promised != w.purse.Usage().Promised {
			t.Errorf("%+v", got)
		}
		w.purse.kill()
		w.startPurse()
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file is still there: %v", err)
	}
}

func TestDamagedFileOfAnEarlierProcessIsMovedAway(t *testing.T) {
	w := newTestWorld(t)
	w.purse.kill()
	path := seriesPath(w.purseCfg.Dir, w.purse.Series(), purseSuffix)
	w.must(os.WriteFile(path, []byte("no journal at all, and longer than a header"), 0o600))
	w.startPurse()
	if _, err := os.Stat(path + ".bad"); err != nil {
		t.Error(err)
	}
}

func TestPurseKeepsABoundedNumberOfSessions(t *testing.T) {
	w := newTestWorld(t)
	h := w.hop(0, 1)
	const n = maxEndedTabs + 20
	for i := range n {
		h.Session = inference.SessionID{byte(i), byte(i >> 8)}
		tab := w.tab(h)
		tab.announce = false // saves a signature
		_, err := tab.order(inference.LineDecode, 1)
		w.must(err)
		w.must(tab.Close())
	}
	if len(w.purse.tabs) != maxEndedTabs {
		t.Errorf("%d tabs are kept", len(w.purse.tabs))
	}
	for i := range maxTabs {
		h.Session = inference.SessionID{byte(i), byte(i >> 8), 1}
		w.tab(h)
	}
	h.Session = inference.SessionID{2: 2}
	if _, err := w.purse.Open(h); !errors.Is(err, ErrFull) {
		t.Errorf("one more than the limit: %v", err)
	}
	if u := w.purse.Usage().Total(); u.Sessions != n+maxTabs || u.Units[inference.LineDecode] != n {
		t.Errorf("usage %+v", u)
	}
	w.must(w.purse.Close())
	w.startPurse()
	if u := w.purse.Usage().Total(); u.Sessions != n+maxTabs || u.Units[inference.LineDecode] != n {
		t.Errorf("usage after a restart %+v", u)
	}
}

func TestOldClaimsBecomeUsage(t *testing.T) {
	w := newTestWorld(t)
	p, _ := w.begin(1, 3)
	w.purse.mu.Lock()
	p.tab.opened -= uint64((claimTime + time.Hour).Seconds())
	w.must(w.purse.append(func(e *encoder) { e.tab(p.tab) }))
	w.purse.mu.Unlock()
	w.purse.kill()
	w.startPurse()
	if ids := w.purse.Claims(w.signer()); len(ids) > 0 {
		t.Errorf("claims %v", ids)
	}
	if u := w.purse.Usage().Total(); u.Units[inference.LinePrefill] != 3 {
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

func TestUsageSumsByWhatIsAsked(t *testing.T) {
	u := Usage{Rows: []Row{
		{Day: "2026-01-01", Model: "a", Party: inference.Address{1}, Sessions: 1, Units: inference.Units{1}, Amount: inference.WeiOf(10)},
		{Day: "2026-01-02", Model: "a", Party: inference.Address{2}, Sessions: 2, Units: inference.Units{2}, Amount: inference.WeiOf(20)},
		{Day: "2026-01-02", Model: "b", Party: inference.Address{1}, Sessions: 4, Units: inference.Units{4}, Amount: inference.Wei{Hi: ^uint64(0), Lo: ^uint64(0)}},
	}}
	byModel := u.By(func(r Row) Row { return Row{Model: r.Model} })
	if len(byModel) != 2 || byModel[0].Sessions != 3 || byModel[0].Lines["prefill"] != 3 || byModel[1].Model != "b" {
		t.Errorf("by model %+v", byModel)
	}
	byNode := u.By(func(r Row) Row { return Row{Party: r.Party} })
	if len(byNode) != 2 || byNode[0].Sessions != 5 {
		t.Errorf("by node %+v", byNode)
	}
	if sum := u.Total(); sum.Sessions != 7 || sum.Amount.Hi != ^uint64(0) {
		t.Errorf("total %+v", sum)
	}
}

func TestRowsOfUsageAreBounded(t *testing.T) {
	l := rows{}
	for i := range 500 {
		l.add(rowKey{fmt.Sprintf("2026-01-%03d", i%50), inference.ModelID(fmt.Sprint(i % 10)), inference.Address{byte(i)}}, Row{Sessions: 1})
		l.fold(20)
		if len(l) > 20 {
			t.Fatalf("%d rows", len(l))
		}
	}
	if sum := (Usage{Rows: l.list()}).Total(); sum.Sessions != 500 {
		t.Errorf("%d sessions", sum.Sessions)
	}
}

// Any bytes in the journal give an error or a state that can be written and
// read again.
func FuzzPurseRecords(f *testing.F) {
	var e encoder
	tab := &Tab{series: 3, hop: HopTerms{Terms: Terms{Model: "m", Blocks: inference.BlockRange{Start: 0, End: 2}}}}
	e.tab(tab)
	open := append([]byte(nil), e...)
	tab.state = tabSettled
	e = e[:0]
	e.tab(tab)
	f.Add(open, []byte(e))
	f.Add(open, append([]byte{recordForget}, make([]byte, 36)...))
	f.Add([]byte{recordAbsorbed, 0, 0, 0, 0, 0, 0, 0, 1}, append([]byte{recordSigned}, make([]byte, 36)...))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		s := newPurseState(3)
		for _, r := range [][]byte{one, two, one, two} {
			_ = s.apply(r)
		}
		u := s.usage()
		again := newPurseState(3)
		err := s.snapshot(func(fill func(e *encoder)) error {
			var e encoder
			fill(&e)
			return again.apply(e)
		})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := u.Total(), again.usage().Total(); a.Units != b.Units || a.Sessions != b.Sessions || u.Promised != again.usage().Promised {
			t.Fatalf("%+v became %+v", a, b)
		}
	})
}
