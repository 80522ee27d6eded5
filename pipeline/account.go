package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

const settleTimeout = 2 * time.Second // for the last receipts of a closed session

// hopAccount is the account of one peer in one session; nil pays nothing.
type hopAccount struct {
	Account
	signer inference.Address

	mu      sync.Mutex
	unacked bool // a voucher was sent that no receipt has answered
	final   bool // the receipt that ends the session has come
	opened  bool // the peer has opened the session, in this epoch or another
	paidFor bool // the voucher of Open covers the step that waits

	again  bool            // a voucher was refused in this epoch and another was sent; the session's caller's
	unsent inference.Units // ordered, its steps are not sent; the session's caller's
}

// order is Order for work whose steps will be sent next.
func (a *hopAccount) order(line inference.Line, units uint64) (*inference.Voucher, error) {
	v, err := a.Order(line, units)
	if err == nil {
		a.unsent[line] += units
	}
	return v, err
}

// sent notes that the step with rows is about to be sent.
func (a *hopAccount) sent(rows []wire.Row, blocks int) {
	if a == nil {
		return
	}
	for _, r := range rows {
		a.unsent[r.Line] -= min(a.unsent[r.Line], uint64(r.N)*uint64(blocks))
	}
}

// withdraw takes back what was ordered and not sent: no node is owed for steps
// that it never got, however often it has the session opened again.
func (s *Session) withdraw() {
	s.mu.Lock()
	accounts, closed := maps.Clone(s.accounts), s.closed
	s.mu.Unlock()
	for peer, a := range accounts {
		a.mu.Lock()
		a.paidFor = false
		a.mu.Unlock()
		var err error
		for line, n := range a.unsent {
			if n > 0 {
				err = errors.Join(err, a.Withdraw(inference.Line(line), n))
			}
		}
		a.unsent = inference.Units{}
		if closed {
			err = errors.Join(err, a.Close()) // an order may have come after the session's end
		}
		if err != nil {
			s.p.parts.Log.Warn("account", "peer", peer, "err", err)
		}
	}
}

func (a *hopAccount) delivered(rows []wire.Row, blocks int) {
	if a == nil {
		return
	}
	for _, r := range rows {
		a.Delivered(r.Line, uint64(r.N)*uint64(blocks))
	}
}

// failedAt takes back what hop i was sent in this epoch and did not send on: it
// has failed there, by the hop's own word, which follows its last Progress. So
// a node that takes steps and fails each time is owed for none of them.
func (s *Session) failedAt(i int) {
	h := s.hops[i]
	if h.account == nil {
		return
	}
	var units inference.Units
	for seq, p := range s.waiting {
		if seq <= h.counted || i > p.until {
			continue
		}
		for _, r := range p.rows {
			units[r.Line] += uint64(r.N) * uint64(h.Blocks.Len())
		}
	}
	h.counted = s.seq // nothing of this epoch counts any more
	for line, n := range units {
		if n == 0 {
			continue
		}
		if err := h.account.Withdraw(inference.Line(line), n); err != nil {
			s.p.parts.Log.Warn("account", "peer", h.Peer(), "err", err)
		}
	}
}

// resumed takes the receipt that came with Opened. Whatever the hop was sent in
// earlier epochs, it bills what stands there and no more.
func (s *Session) resumed(h *hop, r *inference.Receipt) {
	if h.account == nil || r == nil || r.Session != s.id || r.Epoch != s.epoch {
		return
	}
	if err := h.account.Resumed(r, h.account.unsent); err != nil {
		s.p.parts.Log.Warn("receipt refused", "session", s.id.String()[:8], "peer", h.Peer(), "err", err)
	}
}

// sentOn counts the steps that hop i says it has sent on, up to seq: they are
// billable, whether or not their output comes. Each step counts once; output
// counts for the hops that have not said so yet.
func (s *Session) sentOn(i int, seq uint64) {
	h := s.hops[i]
	for ; h.counted < seq; h.counted++ {
		if p := s.waiting[h.counted+1]; p != nil && i <= p.until {
			h.account.delivered(p.rows, h.Blocks.Len())
		}
	}
}

// openAccount returns the voucher that goes with Open: it covers the step that
// waits and, at hops that lost their KV, restoring it.
func (s *Session) openAccount(h *hop, keep bool, groups []Group) (*inference.Voucher, error) {
	if s.p.parts.Purse == nil {
		return nil, nil
	}
	a, err := s.account(h)
	if err != nil {
		return nil, err
	}
	h.account = a
	blocks := uint64(h.Blocks.Len())
	var voucher *inference.Voucher
	order := func(line inference.Line, n uint64) error {
		if n == 0 {
			return nil
		}
		v, err := a.order(line, n*blocks)
		if v != nil {
			voucher = v
		}
		return err
	}
	if !keep {
		n := uint64(0)
		for _, held := range s.need {
			n += uint64(held)
		}
		if err := order(inference.LineRecovery, n); err != nil {
			return nil, err
		}
	}
	for _, g := range groups {
		n := len(g.IDs)
		if g.Hidden != nil {
			n = len(g.Hidden) / s.p.parts.Ends.Hidden()
		}
		if err := order(g.Line, uint64(n)); err != nil {
			return nil, err
		}
	}
	if voucher == nil {
		// A session that is new to the node needs one, however little is due.
		if voucher, err = a.Order(inference.LineDecode, 0); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	a.paidFor = true
	a.mu.Unlock()
	return voucher, nil
}

// payAgain answers the refusal of a voucher, which changes nothing else at the
// hop, with a higher one, once in an epoch. It returns false when the refusal is
// final: the hop refused before, or has not opened the session, or its Fail is
// of a step.
func (s *Session) payAgain(i int, m *wire.Fail) (bool, error) {
	h := s.hops[i]
	a := h.account
	if m.Code != wire.CodePayment || m.Seq != 0 || !h.opened || a == nil || a.again {
		return false, nil
	}
	a.again = true
	v, err := a.Voucher()
	if err != nil {
		return true, fmt.Errorf("hop %d blocks %s peer %s: %w", i+1, h.Blocks, h.Peer().Short(), err)
	}
	if err := s.p.parts.Links.Send(h.Peer(), &wire.Frame{Message: &wire.Voucher{Session: s.id, Voucher: *v}}); err != nil {
		return true, s.hopError(i, FailDead, err)
	}
	return true, nil
}

// account opens the books for a hop, unless the session was closed: what opens
// after the end would never be settled.
func (s *Session) account(h *hop) (*hopAccount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	acc, err := s.p.parts.Purse.Account(AccountInfo{
		Session: s.id, Epoch: s.epoch, Model: s.p.parts.Model, Record: h.Offer.Record, Blocks: h.Blocks,
	})
	if err != nil {
		return nil, err
	}
	a := &hopAccount{Account: acc, signer: h.Offer.Record.Signer}
	if before := s.accounts[h.Peer()]; before != nil {
		before.mu.Lock()
		a.opened = before.opened
		before.mu.Unlock()
	}
	s.accounts[h.Peer()] = a
	return a, nil
}

// order announces steps to the accounts of all hops and sends the vouchers
// that go with them. Where much is ordered at once it waits until the hops
// have the vouchers, which travel on another stream than the steps.
func (s *Session) order(ctx context.Context, steps []*planned) error {
	var waitFor []*hopAccount
	for i, h := range s.hops {
		a := h.account
		if a == nil {
			continue
		}
		a.mu.Lock()
		paid := a.paidFor
		if len(steps) > 0 && !steps[0].fill {
			a.paidFor = false
		}
		a.mu.Unlock()
		if paid {
			continue
		}
		units, voucher := uint64(0), (*inference.Voucher)(nil)
		for _, p := range steps {
			for _, r := range p.rows {
				n := uint64(r.N) * uint64(h.Blocks.Len())
				units += uint64(r.N)
				v, err := a.order(r.Line, n)
				if err != nil {
					// The books are this side's: no hop has failed. A voucher
					// that was signed for this step is not sent, so the hop is
					// opened again, with a new one, before the next.
					s.ready = false
					return fmt.Errorf("hop %d blocks %s peer %s: %w", i+1, h.Blocks, h.Peer().Short(), err)
				}
				if v != nil {
					voucher = v
				}
			}
		}
		if voucher == nil {
			continue
		}
		m := &wire.Voucher{Session: s.id, Voucher: *voucher}
		if units > 16 {
			a.mu.Lock()
			a.unacked = true
			a.mu.Unlock()
			waitFor = append(waitFor, a)
		}
		if err := s.p.parts.Links.Send(h.Peer(), &wire.Frame{Message: m}); err != nil {
			return s.hopError(i, FailDead, err)
		}
	}
	if len(waitFor) == 0 {
		return nil
	}
	return s.pump(ctx, func() bool {
		for _, a := range waitFor {
			a.mu.Lock()
			unacked := a.unacked
			a.mu.Unlock()
			if unacked {
				return false
			}
		}
		return true
	})
}

// receipt takes a receipt from a link's reader.
func (s *Session) receipt(from inference.PeerID, r *inference.Receipt) {
	s.mu.Lock()
	a := s.accounts[from]
	s.mu.Unlock()
	if a == nil {
		return
	}
	if err := a.Receipt(r); err != nil {
		s.p.parts.Log.Warn("receipt refused", "session", s.id.String()[:8], "peer", from, "err", err)
		return
	}
	a.mu.Lock()
	a.unacked = false
	if r.Session == s.id && r.Outcome != inference.OutcomeOpen {
		a.final = true
	}
	a.mu.Unlock()
}

// open notes that the peer has opened the session.
func (a *hopAccount) open() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opened = true
}

// settle waits, in the background, for the last receipts of a closed session,
// then forgets it.
func (s *Session) settle(chain []inference.PeerID) {
	done := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, peer := range chain {
			if a := s.accounts[peer]; a != nil {
				a.mu.Lock()
				final := a.final
				a.mu.Unlock()
				if !final {
					return false
				}
			}
		}
		return true
	}
	s.p.parts.Exchange.settle(func() {
		for deadline := time.Now().Add(settleTimeout); !done() && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		s.p.parts.Exchange.remove(s)
		s.mu.Lock()
		accounts := maps.Clone(s.accounts)
		s.mu.Unlock()
		for peer, a := range accounts {
			err := a.Close()
			a.mu.Lock()
			opened := a.opened
			a.mu.Unlock()
			if err == nil && !opened {
				// Nothing was ever sent to it: there is nothing to wait for.
				err = s.p.parts.Purse.Lost(s.id, a.signer)
			}
			if err != nil {
				s.p.parts.Log.Warn("account", "peer", peer, "err", err)
			}
		}
	})
}
