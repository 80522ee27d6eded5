package payment

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

func TestUndisturbedSessionComesToTheSameOnBothSides(t *testing.T) {
	w := newTestWorld(t)
	p := w.session(10, 100, 70)
	r := w.end(p)
	if want := (inference.Units{1000, 700}); r.Units != want || r.Outcome != inference.OutcomeOK || r.Cumulative != r.Amount {
		t.Errorf("receipt %+v", r)
	}
	w.equal()
}

// Any of the two may die at any point, receipts and vouchers may be lost.
func TestRandomKillsReconcileToTheUnit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dirs := func() string {
			dir, err := os.MkdirTemp("", "kills")
			if err != nil {
				t.Fatal(err)
			}
			rt.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
		w := newWorld(rt, dirs, false)
		defer w.stop()
		live := func() *play {
			var all []*play
			for _, p := range w.sessions {
				if p.tab != nil && p.account != nil {
					all = append(all, p)
				}
			}
			if len(all) == 0 {
				rt.Skip("no session")
			}
			return rapid.SampledFrom(all).Draw(rt, "session")
		}
		work := func() (inference.Line, int) {
			if rapid.IntRange(0, 4).Draw(rt, "kind") > 0 {
				return inference.LineDecode, rapid.IntRange(1, 8).Draw(rt, "n")
			}
			return rapid.SampledFrom([]inference.Line{inference.LinePrefill, inference.LineDraft, inference.LineCached, inference.LineRecovery}).Draw(rt, "line"),
				rapid.IntRange(1, 90).Draw(rt, "n")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"open": func(*rapid.T) {
				prompt := rapid.IntRange(1, 90).Draw(rt, "prompt")
				p, v := w.begin(rapid.IntRange(1, 5).Draw(rt, "blocks"), prompt)
				w.open(p, v)
				if rapid.Bool().Draw(rt, "prefilled") {
					w.serve(p, inference.LinePrefill, prompt)
				}
			},
			"die before open": func(*rapid.T) {
				w.begin(1, 5)
				w.killClient()
			},
			"steps": func(*rapid.T) {
				p := live()
				for range rapid.IntRange(1, 40).Draw(rt, "steps") {
					line, n := work()
					w.step(p, line, n)
				}
			},
			"dropped step": func(*rapid.T) {
				p := live()
				line, n := work()
				w.pay(p, w.order(p, line, n))
				w.charge(p, line, n)
				p.account.Refund(line, uint64(n*p.terms.Blocks.Len()))
			},
			"step ends in the middle": func(*rapid.T) {
				p := live()
				line, n := work()
				node := rapid.Bool().Draw(rt, "the node dies")
				kill := w.killClient
				if node {
					kill = w.killNode
				}
				at := rapid.IntRange(0, 4).Draw(rt, "at")
				v := w.order(p, line, n)
				if at == 0 {
					kill()
					return
				}
				if v != nil {
					r, err := p.account.Voucher(v)
					w.must(err)
					if at == 1 {
						kill()
						return
					}
					w.must(p.tab.Receipt(&r))
				}
				w.charge(p, line, n)
				if at == 2 {
					kill()
					return
				}
				w.sent(p, line, n)
				if at == 3 {
					kill()
					return
				}
				w.delivered(p, line, n)
				kill()
			},
			"end": func(*rapid.T) { w.end(live()) },
			"end without receipt": func(*rapid.T) {
				p := live()
				_, err := p.account.Close(inference.OutcomeAbort)
				w.must(err)
				w.must(p.tab.Close())
				p.tab, p.account = nil, nil
			},
			"reconcile": func(*rapid.T) { w.reconcile() },
			"":          func(*rapid.T) { w.promises() },
		})
		for _, p := range w.sessions {
			if p.account != nil {
				w.end(p)
			}
		}
		w.reconcile()
		w.equal()
		w.killNode()
		w.killClient()
		w.equal()
	})
}

// promises checks that the current series' vouchers never promise more than
// the ordered work, the rest of its tranches and one tranche more; what was
// carried over from ended sessions is part of the work that they ordered.
func (w *world) promises() {
	w.t.Helper()
	most := inference.Wei{}
	count := uint64(0)
	for _, p := range w.sessions {
		if p.series != w.purse.Series() {
			continue
		}
		count++
		cost, _ := testQuote.Cost(p.ordered)
		ahead, _ := testQuote[inference.LineDecode].Mul(2 * p.terms.tranche())
		most, _ = most.Add(cost)
		most, _ = most.Add(ahead)
	}
	most, _ = most.Add(inference.WeiOf(count)) // a new session's voucher rises by 1 wei at least
	if signed := w.purse.Signed(w.meterCfg.Wallet); signed.Cmp(most) > 0 {
		w.t.Fatalf("promised %s wei, at most %s may be needed", signed, most)
	}
}

func TestFiftySessionsWithTenKillsOfEachSideAgree(t *testing.T) {
	w := newWorld(t, t.TempDir, true)
	t.Cleanup(w.stop)
	rng := rand.New(rand.NewPCG(1, 50))
	nodeKills, clientKills := 0, 0
	for i := range 50 {
		p, v := w.begin(3, 1+rng.IntN(60))
		w.open(p, v)
		w.serve(p, inference.LinePrefill, int(p.ordered[inference.LinePrefill])/3)
		tokens := 20 + rng.IntN(120)
		dieAt := -1
		if i%5 < 2 { // 20 of 50
			dieAt = rng.IntN(tokens)
		}
		for n := range tokens {
			v := w.order(p, inference.LineDecode, 1)
			w.pay(p, v)
			w.charge(p, inference.LineDecode, 1)
			if n != dieAt {
				w.sent(p, inference.LineDecode, 1)
				w.delivered(p, inference.LineDecode, 1)
				continue
			}
			if rng.IntN(2) == 0 {
				w.sent(p, inference.LineDecode, 1)
			}
			if i%5 == 0 {
				nodeKills++
				w.killNode()
			} else {
				clientKills++
				w.killClient()
			}
			break
		}
		w.promises()
		w.reconcile()
		if p.account != nil {
			w.end(p)
		}
		w.equal()
	}
	if nodeKills != 10 || clientKills != 10 {
		t.Fatalf("%d kills of the node, %d of the client", nodeKills, clientKills)
	}
	w.must(w.purse.Close())
	w.must(w.meter.Close())
	spent, err := ReadSpending(w.purseCfg.Dir)
	w.must(err)
	earned, err := ReadEarnings(w.meterCfg.Dir)
	w.must(err)
	if s, e := spent.Total(), earned.Total(); s.Units != e.Units || s.Amount != e.Amount || s.Sessions != 50 || e.Sessions != 50 {
		t.Errorf("on disk: spent %+v, earned %+v", s, e)
	}
	if spent.Promised.Cmp(earned.Promised) < 0 || spent.Promised.Cmp(spent.Total().Amount) < 0 {
		t.Errorf("promised %s, node holds %s", spent.Promised, earned.Promised)
	}
}

func TestSessionThatReturnsToANodeGoesOnCounting(t *testing.T) {
	for name, leave := range map[string]func(w *world, p *play){
		"after its end": func(w *world, p *play) {
			r, err := p.account.Close(inference.OutcomeNodeFault)
			w.must(err)
			w.must(p.tab.Receipt(&r))
		},
		"after its end, the receipt lost": func(w *world, p *play) {
			_, err := p.account.Close(inference.OutcomeNodeFault)
			w.must(err)
		},
		"after the node's death": func(w *world, p *play) {
			w.killNode() // takes note of what the node has lost
		},
		"while it is open": func(*world, *play) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWorld(t)
			p := w.session(3, 20, 40)
			leave(w, p)
			p.terms.Epoch, p.terms.Blocks = 2, inference.BlockRange{Start: 4, End: 9}
			var err error
			p.tab, err = w.purse.Open(HopTerms{Terms: p.terms, Wallet: w.meterCfg.Wallet, Signer: w.signer()})
			w.must(err)
			w.open(p, w.order(p, inference.LineRecovery, 60))
			r, err := p.account.Receipt()
			w.must(err)
			w.must(p.tab.Receipt(&r)) // comes with Opened
			w.serve(p, inference.LineRecovery, 60)
			for range 50 {
				w.step(p, inference.LineDecode, 1)
			}
			if r := w.end(p); r.Units != p.billed || r.Epoch != 2 {
				t.Errorf("receipt %+v, billed %v", r, p.billed)
			}
			w.equal()
		})
	}
}
