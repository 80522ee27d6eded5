package pipeline

import (
	"errors"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/pipeline/wire"
)

// realBooks returns a session of one hop of three blocks, its purse, and the
// meter of the hop with the meter's key; a token·block costs one wei.
func realBooks(t *testing.T) (*Session, *hop, *payment.Purse, *payment.Meter, *payment.Key) {
	t.Helper()
	s, h := accounted(t, &ledger{}, &ledger{})
	payer, err := payment.NewKey()
	node, err2 := payment.NewKey()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	p, err := payment.OpenPurse(payment.PurseConfig{Dir: t.TempDir(), Key: payer, Domain: payment.DevelopmentDomain})
	if err != nil {
		t.Fatal(err)
	}
	m, err := payment.OpenMeter(payment.MeterConfig{Dir: t.TempDir(), Key: node, Wallet: node.Address(), Domain: payment.DevelopmentDomain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		s.p.parts.Exchange.Wait()
		if err := errors.Join(p.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	s.p.parts.Purse, s.p.parts.Model = purse{p}, "toy:f32"
	s.p.parts.Directory = list{}
	r := &h.Offer.Record
	r.Digest, r.Class, r.Wallet, r.Signer = inference.Digest{1}, "c", node.Address(), node.Address()
	for l := range r.Quote {
		r.Quote[l] = inference.WeiOf(1)
	}
	return s, h, p, m, node
}

// reopen opens the session at the hop under the next epoch, as openAll does,
// with n positions of prompt that wait; the node's Opened comes back.
func reopen(t *testing.T, s *Session, h *hop, m *payment.Meter, n int) *payment.Account {
	t.Helper()
	s.withdraw()
	s.epoch++
	s.seq, h.counted, h.progress, h.opened = 0, 0, wire.Progress{}, false
	clear(s.waiting)
	v, err := s.openAccount(h, true, []Group{{IDs: make([]inference.TokenID, n), Line: inference.LinePrefill}})
	if err != nil {
		t.Fatal(err)
	}
	rec := &h.Offer.Record
	a, err := m.Open(payment.OpenInfo{Peer: "client", Terms: payment.Terms{
		Session: s.id, Epoch: s.epoch, Model: "toy:f32", Digest: rec.Digest, Class: rec.Class, Blocks: h.Blocks, Quote: rec.Quote,
	}}, v)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Receipt()
	if err != nil {
		t.Fatal(err)
	}
	s.opened(h, &wire.Opened{Session: s.id, Epoch: s.epoch, Receipt: &r})
	return a
}

// send puts a step of n positions of prompt under way.
func send(s *Session, h *hop, n int) {
	s.seq++
	p := &pending{seq: s.seq, rows: rowsOf(inference.LinePrefill, n), units: uint64(n), begun: time.Now()}
	s.waiting[s.seq] = p
	h.account.sent(p.rows, h.Blocks.Len())
}

func tallyOf(h *hop) payment.Tally { return h.account.Account.(*payment.Tab).Tally() }

// A hop that takes a step, charges it and fails, again and again, is owed for
// none of it; what it sent on before that is.
func TestHopThatFailsEachTimeIsOwedNothing(t *testing.T) {
	for name, says := range map[string]bool{"it says that it failed": true, "it is opened again": false} {
		t.Run(name, func(t *testing.T) {
			s, h, p, m, key := realBooks(t)
			const blocks = 3
			var a *payment.Account
			for range maxReroutes {
				a = reopen(t, s, h, m, 40)
				send(s, h, 40)
				if err := a.Charge(inference.LinePrefill, 40*blocks); err != nil {
					t.Fatal(err)
				}
				a.Refund(inference.LinePrefill, 40*blocks) // the forward pass failed
				if says {
					s.failed(0, &wire.Fail{Epoch: s.epoch, Seq: s.seq, Code: wire.CodeInternal})
					s.failed(0, &wire.Fail{Epoch: s.epoch, Seq: s.seq, Code: wire.CodeInternal}) // once is enough
				}
			}
			if says {
				if got := tallyOf(h); got != (payment.Tally{}) {
					t.Errorf("after the last failure the client counts %+v", got)
				}
			}
			a = reopen(t, s, h, m, 40)
			if got, want := tallyOf(h).Bound, (inference.Units{inference.LinePrefill: 40 * blocks}); got != want {
				t.Errorf("of %d attempts the hop may bill %v, want the last: %v", maxReroutes+1, got, want)
			}
			// Of two steps one is sent on, the other fails.
			send(s, h, 30)
			send(s, h, 10)
			if err := a.Charge(inference.LinePrefill, 40*blocks); err != nil {
				t.Fatal(err)
			}
			a.Sent(inference.LinePrefill, 30*blocks)
			s.progressed(h, 0, &wire.Progress{Epoch: s.epoch, Received: 2, Started: 2, Sent: 1})
			s.failed(0, &wire.Fail{Epoch: s.epoch, Seq: 2, Code: wire.CodeInternal})
			want := inference.Units{inference.LinePrefill: 30 * blocks}
			if got := tallyOf(h); got.Done != want || got.Bound != want {
				t.Errorf("the client counts %+v, want %v", got, want)
			}

			r, err := a.Close(inference.OutcomeNodeFault)
			if err != nil {
				t.Fatal(err)
			}
			more := r // the hop claims the step that failed
			more.Units[inference.LinePrefill] += 10 * blocks
			more.Amount = inference.WeiOf(more.Units.Total())
			more.Cumulative = more.Amount
			payment.DevelopmentDomain.SignReceipt(key, &more)
			var wrong *payment.ReceiptError
			if err := h.account.Receipt(&more); !errors.As(err, &wrong) {
				t.Errorf("a receipt of the step that failed: %v", err)
			}
			if err := h.account.Receipt(&r); err != nil {
				t.Fatal(err)
			}
			spent, earned := p.Usage().Total(), m.Usage().Total()
			if spent.Units != want || earned.Units != want || spent.Amount != earned.Amount || spent.Unsettled != 0 {
				t.Errorf("the client counts %+v, the node %+v, want %v", spent, earned, want)
			}
		})
	}
}

// A hop that was cut off had sent on more than the client heard of: the receipt
// of the next epoch says so, and counts once.
func TestReceiptOfANewEpochCountsWhatWasNotHeard(t *testing.T) {
	s, h, p, m, _ := realBooks(t)
	a := reopen(t, s, h, m, 20)
	send(s, h, 10)
	send(s, h, 10)
	if err := a.Charge(inference.LinePrefill, 60); err != nil {
		t.Fatal(err)
	}
	a.Sent(inference.LinePrefill, 30) // no Progress of it arrives
	a.Refund(inference.LinePrefill, 30)
	reopen(t, s, h, m, 20)
	if got := tallyOf(h); got.Done.Total() != 30 || got.Open.Total() != 60 || got.Bound.Total() != 90 {
		t.Errorf("the client counts %+v", got)
	}
	s.withdraw()
	r, err := a.Close(inference.OutcomeOK)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.account.Receipt(&r); err != nil {
		t.Fatal(err)
	}
	if spent, earned := p.Usage().Total(), m.Usage().Total(); spent.Units != earned.Units || spent.Units.Total() != 30 {
		t.Errorf("the client counts %+v, the node %+v", spent, earned)
	}
}

// A refused voucher does not end the epoch: what is under way stays owed.
func TestRefusedVoucherWithdrawsNothing(t *testing.T) {
	s, h, _, m, _ := realBooks(t)
	reopen(t, s, h, m, 10)
	send(s, h, 10)
	before := tallyOf(h)
	for _, code := range []wire.Code{wire.CodeForbidden, wire.CodeDraining, wire.CodePayment, wire.CodeNoSession} {
		s.failed(0, &wire.Fail{Epoch: s.epoch, Code: code})
		if got := tallyOf(h); got.Bound != before.Bound || got.Open != before.Open {
			t.Errorf("%s: %+v", code, got)
		}
	}
}
