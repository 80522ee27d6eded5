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
)

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
	tab.signed = inference.WeiOf(5) // to no wallet
	e = e[:0]
	e.tab(tab)
	f.Add([]byte(e), append([]byte{recordPromised}, make([]byte, 16)...))
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
