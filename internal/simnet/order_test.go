package simnet_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

// watched keeps the tab that a session has last opened.
type watched struct {
	purse
	tab *payment.Tab
}

func (w *watched) Account(o pipeline.AccountInfo) (pipeline.Account, error) {
	a, err := w.purse.Account(o)
	if err == nil {
		w.tab = a.(*payment.Tab)
	}
	return a, err
}

// The only node for its blocks answers busy again and again: it collects
// vouchers, and is owed for what it computes in the end, once.
func TestNodeThatIsBusyAgainAndAgainCanBillTheWorkOnce(t *testing.T) {
	paid(t, func(t *testing.T, b *books) {
		n := b.add("a", 0, 6, 0)
		var mu sync.Mutex
		var promised []inference.Wei
		refuse := func(_ inference.PeerID, f *wire.Frame) []*wire.Frame {
			mu.Lock()
			defer mu.Unlock()
			m, ok := f.Message.(*wire.Open)
			if !ok {
				return []*wire.Frame{f}
			}
			promised = append(promised, m.Voucher.Cumulative)
			if len(promised) > 5 {
				return []*wire.Frame{f}
			}
			busy := &wire.Fail{Session: m.Session, Epoch: m.Epoch, Code: wire.CodeBusy}
			go n.Mux.Send("client", &wire.Frame{Message: busy})
			return nil
		}
		w := &watched{purse: purse{b.purse}}
		l := b.c.Client("client", simnet.ClientOptions{Purse: w, Links: func(l pipeline.Links) pipeline.Links { return &tap{l, refuse} }})
		s := open(t, l, pipeline.SessionOptions{Timeout: time.Minute})
		step(t, s, nil, group(0, 0, tokens(1, 300)))
		if len(promised) != 6 {
			t.Fatalf("opened %d times", len(promised))
		}
		want := inference.Units{inference.LinePrefill: 300 * 6}
		if got := w.tab.Tally().Bound; got != want {
			t.Errorf("the node may bill %v for %v", got, want)
		}
		// Each Open has a voucher of its own, higher by 1 wei.
		if rise, _ := promised[5].Sub(promised[0]); rise.Cmp(inference.WeiOf(5)) > 0 {
			t.Errorf("the promise rose by %s wei", rise)
		}
		s.Close()
		time.Sleep(5 * time.Second)
		b.agree()
	})
}

// Branches that share a beginning are restored from it once; what was ordered
// for each is taken back.
func TestOrderOfARecoveryEndsAsWhatWasSent(t *testing.T) {
	paid(t, func(t *testing.T, b *books) {
		n := b.add("a", 0, 6, 0)
		w := &watched{purse: purse{b.purse}}
		l := b.c.Client("client", simnet.ClientOptions{Purse: w})
		s := open(t, l, pipeline.SessionOptions{Timeout: time.Minute})
		step(t, s, nil, group(0, 0, tokens(1, 40)))
		step(t, s, []wire.BranchOp{pipeline.Fork(0, 40, 1)}, group(1, 40, tokens(2, 1)))
		b.add("b", 0, 6, 0)
		n.Kill()
		step(t, s, nil, group(0, 40, tokens(3, 1)))
		want := inference.Units{inference.LinePrefill: 6, inference.LineRecovery: 41 * 6}
		if got := w.tab.Tally().Bound; got != want {
			t.Errorf("the replacement may bill %v for %v", got, want)
		}
		s.Close()
		time.Sleep(5 * time.Second)
	})
}

// The first voucher after Open is lost to one that the node has already: it is
// refused, and the client sends a higher one.
func TestAnswerGoesOnAfterARefusedVoucher(t *testing.T) {
	paid(t, func(t *testing.T, b *books) {
		b.add("a", 0, 6, 0)
		var mu sync.Mutex
		var first *inference.Voucher
		vouchers := 0
		stale := func(_ inference.PeerID, f *wire.Frame) []*wire.Frame {
			mu.Lock()
			defer mu.Unlock()
			switch m := f.Message.(type) {
			case *wire.Open:
				first = m.Voucher
			case *wire.Voucher:
				if vouchers++; vouchers == 1 {
					f.Message = &wire.Voucher{Session: m.Session, Voucher: *first}
				}
			}
			return []*wire.Frame{f}
		}
		l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}, Links: func(l pipeline.Links) pipeline.Links { return &tap{l, stale} }})
		r := pipeline.Request{IDs: tokens(1, 30), MaxTokens: 100, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}
		if a := ask(context.Background(), l.DistributedPipeline, r, nil); a.err != nil || len(a.ids[0]) != 100 {
			t.Errorf("%d tokens: %v", len(a.ids[0]), a.err)
		}
		if vouchers < 3 {
			t.Errorf("%d vouchers were sent", vouchers)
		}
		time.Sleep(5 * time.Second)
		b.agree()
	})
}
