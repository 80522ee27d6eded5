package simnet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/stage"
)

// purse and meter adapt the real books, as the programs do.
type purse struct{ *payment.Purse }

func (p purse) Account(o pipeline.AccountInfo) (pipeline.Account, error) {
	tab, err := p.Open(payment.HopTerms{
		Terms: payment.Terms{
			Session: o.Session, Epoch: o.Epoch, Model: o.Model, Digest: o.Record.Digest,
			Blocks: o.Blocks, Class: o.Record.Class, Quote: o.Record.Quote,
		},
		Wallet: o.Record.Wallet, Signer: o.Record.Signer,
	})
	if err != nil {
		return nil, err
	}
	return tab, nil
}

type meter struct{ *payment.Meter }

func (m meter) Open(t stage.Terms, v *inference.Voucher) (stage.Account, error) {
	a, err := m.Meter.Open(payment.OpenInfo{
		Terms: payment.Terms{
			Session: t.Session, Epoch: t.Epoch, Model: "random", Digest: t.Digest,
			Blocks: t.Blocks, Class: t.Class, Quote: t.Quote,
		},
		Peer: t.Client,
	}, v)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// books are a purse and the meters of some nodes.
type books struct {
	t      *testing.T
	c      *simnet.Cluster
	purse  *payment.Purse
	keys   map[inference.PeerID]*payment.Key
	meters map[inference.PeerID]*payment.Meter
	kv     int64 // of nodes that are added; 0: the default
}

func newBooks(t *testing.T, c *simnet.Cluster) *books {
	b := &books{t: t, c: c, keys: map[inference.PeerID]*payment.Key{}, meters: map[inference.PeerID]*payment.Meter{}}
	key, err := payment.NewKey()
	if err == nil {
		b.purse, err = payment.OpenPurse(payment.PurseConfig{Dir: t.TempDir(), Key: key, Domain: payment.DevelopmentDomain})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// add starts a node that is paid: 3 wei per token·block decoded, 1 for other
// lines. A second one of the same id has the same books.
func (b *books) add(id inference.PeerID, start, end int, credit uint64) *simnet.Node {
	b.t.Helper()
	m := b.meters[id]
	if m == nil {
		key, err := payment.NewKey()
		if err == nil {
			m, err = payment.OpenMeter(payment.MeterConfig{
				Dir: b.t.TempDir(), Key: key, Wallet: key.Address(), Domain: payment.DevelopmentDomain, Credit: credit,
			})
		}
		if err != nil {
			b.t.Fatal(err)
		}
		b.meters[id], b.keys[id] = m, key
	}
	n := b.c.AddWith(id, start, end, simnet.NodeOptions{
		KVBytes: b.kv,
		Stage:   func(c *stage.Config) { c.Meter = meter{m} },
		Record: func(r *inference.NodeRecord) {
			r.Wallet, r.Signer = b.keys[id].Address(), b.keys[id].Address()
			for l := range r.Quote {
				r.Quote[l] = inference.WeiOf(1)
			}
			r.Quote[inference.LineDecode] = inference.WeiOf(3)
		},
	})
	n.Slow(5*time.Millisecond, 0)
	return n
}

// close closes the books when nothing runs any more.
func (b *books) close() {
	b.c.End()
	if err := b.purse.Close(); err != nil {
		b.t.Error(err)
	}
	for _, m := range b.meters {
		if err := m.Close(); err != nil {
			b.t.Error(err)
		}
	}
}

// agree demands that purse and meters say the same, to the unit, and that
// nothing is unsettled.
func (b *books) agree() {
	b.t.Helper()
	spent := b.purse.Usage()
	for id, m := range b.meters {
		wallet := b.keys[id].Address()
		var mine payment.Row
		for _, r := range spent.By(func(r payment.Row) payment.Row { return payment.Row{Party: r.Party} }) {
			if r.Party == wallet {
				mine = r
			}
		}
		earned := m.Usage().Total()
		if mine.Units != earned.Units || mine.Amount != earned.Amount || mine.Unsettled != 0 || earned.Unsettled != 0 {
			b.t.Errorf("node %s: the client counts %+v, the node %+v", id, mine, earned)
		}
		var promised inference.Wei
		for _, v := range m.Vouchers() {
			promised, _ = promised.Add(v.Cumulative)
		}
		if earned.Amount.Cmp(promised) > 0 {
			b.t.Errorf("node %s: earned %s, promised %s", id, earned.Amount, promised)
		}
	}
}

// paid runs f with books.
func paid(t *testing.T, f func(t *testing.T, b *books)) {
	t.Helper()
	bubble(t, tiny, func(t *testing.T, c *simnet.Cluster) {
		b := newBooks(t, c)
		c.Delay(oneWay)
		defer b.close()
		f(t, b)
	})
}

func TestClientAndNodesAgreeOnWhatIsOwed(t *testing.T) {
	prompt := tokens(1, 100)
	want := tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["warm"], 0, 80)
	for _, credit := range []uint64{0, 64} {
		t.Run(fmt.Sprint("credit ", credit), func(t *testing.T) {
			paid(t, func(t *testing.T, b *books) {
				b.add("a", 0, 2, credit)
				b.add("b", 2, 4, credit)
				b.add("c", 4, 6, credit)
				l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}})
				var wg sync.WaitGroup
				for range 4 { // of one series, their vouchers overtake each other
					wg.Go(func() {
						r := pipeline.Request{IDs: prompt, MaxTokens: 80, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}
						ask(context.Background(), l.DistributedPipeline, r, nil).want(t, 0, want)
					})
				}
				wg.Wait()
				time.Sleep(5 * time.Second)
				b.agree()
				u := b.purse.Usage().Total()
				if want := (inference.Units{inference.LinePrefill: 4 * 100 * 6, inference.LineDecode: 4 * 79 * 6}); u.Units != want {
					t.Errorf("billed %v, want %v", u.Units, want)
				}
			})
		})
	}
}

func TestBooksAgreeAfterLosses(t *testing.T) {
	prompt := tokens(1, 60)
	want := tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["warm"], 0, 50)
	for hop := range 3 {
		paid(t, func(t *testing.T, b *books) {
			for _, id := range []inference.PeerID{"a", "b", "c", "a'", "b'", "c'"} {
				i := int(id[0] - 'a')
				b.add(id, 2*i, 2*i+2, 64)
			}
			l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}})
			r := pipeline.Request{IDs: prompt, MaxTokens: 50, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}
			v := &victim{c: b.c, l: l, hop: hop, stop: (*simnet.Node).Kill}
			a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
				if len(a.ids[0]) == 20 {
					v.strike()
				}
			})
			a.want(t, 0, want)
			// It comes back with its books, and the next session settles them.
			blocks := v.node.Record.Blocks
			time.Sleep(3 * time.Second)
			for id, m := range b.meters {
				if id == v.node.ID {
					if u := m.Usage().Total(); u.Sessions != 1 {
						t.Errorf("the lost node's books: %+v", u)
					}
				} else if blocks == b.c.Node(id).Record.Blocks {
					b.c.Node(id).Leave() // the session goes to the one that came back
				}
			}
			b.add(v.node.ID, blocks.Start, blocks.End, 64)
			time.Sleep(3 * time.Second)
			ask(context.Background(), l.DistributedPipeline, r, nil).want(t, 0, want)
			time.Sleep(5 * time.Second)
			b.agree()
			recovered := b.purse.Usage().Total().Units[inference.LineRecovery]
			if recovered == 0 {
				t.Error("no recovery was billed")
			}
		})
	}
}

func TestFaultyNodeIsNotOwedTheReplay(t *testing.T) {
	paid(t, func(t *testing.T, b *books) {
		b.add("a", 0, 3, 64)
		b.add("b", 3, 6, 64)
		b.add("b'", 3, 6, 64)
		l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}})
		s := open(t, l, pipeline.SessionOptions{})
		step(t, s, nil, group(0, 0, tokens(1, 40)))
		lost := s.Route().Hops[1].Peer
		b.c.Node(lost).Kill()
		step(t, s, nil, group(0, 40, tokens(2, 10)))
		s.Close()
		time.Sleep(5 * time.Second)
		for id, want := range map[inference.PeerID]inference.Units{
			"a":  {inference.LinePrefill: 50 * 3, inference.LineRecovery: 40 * 3},
			lost: {inference.LinePrefill: 40 * 3},
			s.Route().Hops[1].Peer: {
				inference.LinePrefill: 10 * 3, inference.LineRecovery: 40 * 3,
			},
		} {
			if got := b.meters[id].Usage().Total().Units; got != want {
				t.Errorf("node %s bills %v, want %v", id, got, want)
			}
		}
	})
}

func TestNodeThatRefusedIsOwedNothing(t *testing.T) {
	paid(t, func(t *testing.T, b *books) {
		b.add("a", 0, 6, 64).Stage.Drain() // its record does not say so yet
		l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}})
		time.AfterFunc(time.Second, func() { b.add("b", 0, 6, 64) })
		r := pipeline.Request{IDs: tokens(1, 10), MaxTokens: 3, IgnoreEOS: true}
		if a := ask(context.Background(), l.DistributedPipeline, r, nil); a.err != nil {
			t.Fatal(a.err)
		}
		time.Sleep(5 * time.Second)
		if u := b.purse.Usage().Total(); u.Unsettled != 0 || u.Units.Total() != 12*6 {
			t.Errorf("usage %+v", u)
		}
	})
}

func TestPriceCeilingIsKept(t *testing.T) {
	paid(t, func(t *testing.T, b *books) {
		b.add("a", 0, 3, 64)
		b.add("b", 3, 6, 64)
		l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}})
		r := pipeline.Request{IDs: tokens(1, 10), MaxTokens: 3, IgnoreEOS: true, Session: pipeline.SessionOptions{Ceiling: inference.WeiOf(17)}}
		if a := ask(context.Background(), l.DistributedPipeline, r, nil); a.err == nil {
			t.Error("18 wei per token were paid")
		}
		r.Session.Ceiling = inference.WeiOf(18)
		if a := ask(context.Background(), l.DistributedPipeline, r, nil); a.err != nil {
			t.Error(a.err)
		}
	})
}
