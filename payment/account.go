package payment

import (
	"container/list"
	"fmt"

	"github.com/farlabs/inference"
)

// accountState is what changes while a session works.
type accountState struct {
	Tally
	Outcome inference.Outcome // OutcomeOpen while it is live
}

// Account is one session at the node. The order of calls for a row is Charge,
// then the forward pass, then Sent or Refund.
type Account struct {
	meter  *Meter // nil while a journal is only read
	series *series
	terms  Terms
	opened uint64        // Unix seconds
	credit inference.Wei // of this session's role
	last   inference.Wei // highest voucher that came with this session
	state  accountState
	saved  uint64 // total of Done in the journal
	live   bool
	place  *list.Element // in meterState.ended
}

// Charge takes on n token·blocks of a line before they are computed. Without a
// voucher or credit for them it returns a *CreditError, and nothing changed:
// try again after the next voucher. It allocates nothing when it succeeds and
// waits for no disk.
func (a *Account) Charge(line inference.Line, n uint64) error {
	a.meter.mu.Lock()
	defer a.meter.mu.Unlock()
	if !a.live || a.meter.closed {
		return ErrAccountClosed
	}
	if err := a.meter.failed; err != nil {
		a.meter.failed = nil
		return fmt.Errorf("persist count: %w", err)
	}
	if line >= inference.NumLines {
		return fmt.Errorf("%w: %d", ErrLine, line)
	}
	s := a.series
	cost, ok := a.terms.Quote[line].Mul(n)
	taken, ok1 := s.taken.Add(cost)
	if !ok || !ok1 {
		return fmt.Errorf("%w: %d token·blocks of %s", ErrAmount, n, line)
	}
	if err := covered(taken, s.voucher.Cumulative, a.credit, a.meter.cfg.Credit); err != nil {
		return err
	}
	if err := a.state.Take(line, n); err != nil {
		return err
	}
	s.taken = taken
	return nil
}

// Sent bills n token·blocks that were charged: their rows have left for the
// next hop or the client. The count reaches the journal at the latest with
// every tranche.
func (a *Account) Sent(line inference.Line, n uint64) {
	a.meter.mu.Lock()
	defer a.meter.mu.Unlock()
	if !a.live {
		return
	}
	n = a.state.Deliver(line, n)
	if n == 0 {
		return
	}
	cost, _ := a.terms.Quote[line].Mul(n) // part of taken, so it fits
	a.series.spent, _ = a.series.spent.Add(cost)
	if a.state.Done.Total()-a.saved >= a.terms.tranche() {
		a.save()
	}
}

// save writes the count down; a failure is reported by the next Charge.
func (a *Account) save() {
	if err := a.meter.appendSession(a, &a.terms, &a.state); err != nil {
		a.meter.failed = err
		return
	}
	a.saved = a.state.Done.Total()
	a.meter.journal.SyncSoon()
}

// Refund gives back n token·blocks that were charged and will not be sent.
func (a *Account) Refund(line inference.Line, n uint64) {
	a.meter.mu.Lock()
	defer a.meter.mu.Unlock()
	if a.live {
		a.refund(line, n)
	}
}

func (a *Account) refund(line inference.Line, n uint64) {
	if n = a.state.Drop(line, n); n > 0 {
		cost, _ := a.terms.Quote[line].Mul(n)
		a.series.taken, _ = a.series.taken.Sub(cost)
	}
}

// Voucher takes a higher voucher and acknowledges it by a receipt of what is
// billed so far. It returns when both are on the disk, a few milliseconds: call
// it off the path of tokens. One that is equal to an earlier one or lower is an
// ErrStaleVoucher and changes nothing. Only where another session's voucher has
// overtaken it on the way, a lower one is acknowledged; the highest stays.
func (a *Account) Voucher(v *inference.Voucher) (inference.Receipt, error) {
	if err := a.meter.check(v); err != nil {
		return inference.Receipt{}, fmt.Errorf("take voucher: %w", err)
	}
	if err := a.raise(v); err != nil {
		return inference.Receipt{}, fmt.Errorf("take voucher: %w", err)
	}
	return a.Receipt()
}

func (a *Account) raise(v *inference.Voucher) error {
	m, s := a.meter, a.series
	m.mu.Lock()
	defer m.mu.Unlock()
	if !a.live || m.closed {
		return ErrAccountClosed
	}
	if s.key != (seriesKey{v.Payer, v.Series}) {
		return fmt.Errorf("%w: series %d of %s", ErrForeignSeries, v.Series, v.Payer)
	}
	if !s.fresh(v.Cumulative, a.last, s.others(a)) {
		return ErrStaleVoucher
	}
	if v.Cumulative.Cmp(s.voucher.Cumulative) > 0 {
		if err := m.appendSeries(s.with(*v)); err != nil {
			return err
		}
		s.voucher = *v
	}
	s.saw(v.Cumulative)
	a.last = v.Cumulative
	m.compact()
	return nil
}

// Receipt states and signs what is billed so far, after it is on the disk.
func (a *Account) Receipt() (inference.Receipt, error) {
	m := a.meter
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return inference.Receipt{}, fmt.Errorf("receipt: %w", ErrClosed)
	}
	var err error
	if a.state.Done.Total() != a.saved && m.sessions[a.terms.Session] == a {
		if err = m.appendSession(a, &a.terms, &a.state); err == nil {
			a.saved = a.state.Done.Total()
		}
	}
	r := a.statement()
	m.mu.Unlock()
	if err == nil {
		err = m.journal.Sync()
	}
	if err != nil {
		return inference.Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	m.cfg.Domain.SignReceipt(m.cfg.Key, &r)
	return r, nil
}

func (a *Account) statement() inference.Receipt {
	amount, _ := a.terms.Quote.Cost(a.state.Done) // at most the series' spent
	return inference.Receipt{
		Payer: a.series.key.payer, Node: a.meter.cfg.Wallet, Series: a.series.key.series,
		Session: a.terms.Session, Epoch: a.terms.Epoch, Digest: a.terms.Digest, Blocks: a.terms.Blocks, Class: a.terms.Class,
		Units: a.state.Done, Amount: amount, Cumulative: a.series.spent, Outcome: a.state.Outcome,
	}
}

// Close ends the session: what was charged and not sent is given back, the
// final receipt is returned. Closing again returns it again, whatever the
// outcome says then.
func (a *Account) Close(outcome inference.Outcome) (inference.Receipt, error) {
	if outcome == inference.OutcomeOpen {
		outcome = inference.OutcomeOK
	}
	m := a.meter
	m.mu.Lock()
	if a.live && !m.closed {
		a.end(outcome)
		if err := m.appendSession(a, &a.terms, &a.state); err != nil {
			// The session is over all the same; a later receipt tries again.
			a.saved = ^uint64(0)
		} else {
			a.saved = a.state.Done.Total()
		}
		m.setSession(a)
		m.trim()
		m.compact()
	}
	m.mu.Unlock()
	return a.Receipt()
}

// end gives back what is open. The meter's lock is held.
func (a *Account) end(outcome inference.Outcome) {
	for line, n := range a.state.Open {
		a.refund(inference.Line(line), n)
	}
	a.state.Outcome = outcome
}

func (a *Account) row() (rowKey, Row) {
	amount, _ := a.terms.Quote.Cost(a.state.Done)
	r := Row{Sessions: 1, Units: a.state.Done, Amount: amount}
	if a.live {
		r.Unsettled = 1
	}
	return rowKey{dayOf(a.opened), a.terms.Model, a.series.key.payer}, r
}
