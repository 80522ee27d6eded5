package payment

import (
	"container/list"
	"fmt"

	"github.com/farlabs/inference"
)

type tabState uint8

const (
	tabOpen    tabState = iota // in use
	tabWaiting                 // over; the final receipt has not come
	tabSettled                 // the final receipt is adopted
	numTabStates
)

// Tab is one session at one hop, on the client's side. Order comes before the
// work is sent, Delivered when it has come back.
type Tab struct {
	purse    *Purse   // nil while a journal is only read
	account  *account // nil: of an earlier process, no voucher is signed any more
	series   uint64
	hop      HopTerms
	opened   uint64 // Unix seconds
	tally    Tally
	horizon  Horizon
	signed   inference.Wei // highest voucher of (series, wallet) when the tab was last written
	charged  inference.Wei // its part of account.committed
	state    tabState
	announce bool          // the next Order returns a voucher in any case
	place    *list.Element // in purseState.ended
}

// Order announces n token·blocks of a line that will be sent next, and returns
// the voucher that has to be at the node before them, nil when they are covered
// already. The voucher's promise is persisted first; the first one after Open
// is on the disk. A voucher replaces earlier ones: of several only the last
// needs to be sent.
func (t *Tab) Order(line inference.Line, n uint64) (*inference.Voucher, error) {
	p := t.purse
	p.mu.Lock()
	first := t.announce
	v, err := t.order(line, n)
	p.mu.Unlock()
	if err == nil && first {
		err = p.journal.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	return v, nil
}

func (t *Tab) order(line inference.Line, n uint64) (*inference.Voucher, error) {
	p := t.purse
	if p.closed {
		return nil, ErrClosed
	}
	if t.account == nil || p.tabs[t.key()] != t {
		return nil, ErrAccountClosed
	}
	before, signed, committed := *t, t.account.signed, t.account.committed
	undo := func(err error) (*inference.Voucher, error) {
		*t, t.account.signed, t.account.committed = before, signed, committed
		return nil, err
	}
	if err := t.tally.Take(line, n); err != nil {
		return undo(err)
	}
	began := t.horizon.Reach(t.tally.Due().Total())
	t.state = tabOpen
	if err := t.commit(); err != nil {
		return undo(err)
	}
	var v *inference.Voucher
	if a := t.account; t.announce || a.committed.Cmp(a.signed) > 0 {
		// Always higher than the one before, by 1 wei if need be: a node takes
		// no voucher twice.
		next, ok := a.signed.Add(inference.WeiOf(1))
		if !ok {
			return undo(fmt.Errorf("%w: series is used up", ErrAmount))
		}
		if a.committed.Cmp(next) > 0 {
			next = a.committed
		}
		v = &inference.Voucher{Node: t.hop.Wallet, Series: t.series, Cumulative: next}
		a.signed = next
	}
	if began || v != nil {
		t.signed = t.account.signed
		if err := p.append(func(e *encoder) { e.tab(t) }); err != nil {
			return undo(err)
		}
		p.noteSigned(t)
		p.journal.SyncSoon()
	}
	t.announce = false
	p.file(t)
	p.trim()
	if v != nil {
		p.cfg.Domain.SignVoucher(p.cfg.Key, v)
	}
	return v, nil
}

// Withdraw takes back n token·blocks of a line that were ordered and whose steps
// were never sent, or of which the node itself says that they failed: it can
// bill them no more. Vouchers stay signed, so that
// they cover later orders first. An error tells that it was not persisted; the
// counts are right all the same.
func (t *Tab) Withdraw(line inference.Line, n uint64) error {
	p := t.purse
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tabs[t.key()] != t || t.tally.Withdraw(line, n) == 0 {
		return nil
	}
	t.horizon.Withdraw(t.tally.Due().Total())
	err := t.commit()
	switch {
	case err != nil:
	case p.closed:
		err = ErrClosed
	default:
		err = p.append(func(e *encoder) { e.tab(t) })
	}
	if err != nil {
		return fmt.Errorf("withdraw order: %w", err)
	}
	p.trim()
	return nil
}

// Voucher signs a voucher that is higher than all before, for a node that has
// refused one as overtaken or asks for more.
func (t *Tab) Voucher() (*inference.Voucher, error) {
	t.purse.mu.Lock()
	t.announce = true
	t.purse.mu.Unlock()
	return t.Order(inference.LineDecode, 0)
}

// Delivered counts work of a line that came back, or that the hop's Progress
// says it has sent on.
func (t *Tab) Delivered(line inference.Line, n uint64) {
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	t.tally.Deliver(line, n)
}

// Receipt adopts a receipt of the tab's node, of this session or another; see
// Purse.Adopt.
func (t *Tab) Receipt(r *inference.Receipt) error { return t.purse.Adopt(r, t.hop.Signer) }

// Resumed adopts the receipt that came when the node opened the session again,
// before any step of the new epoch: of what was sent earlier only its lines are
// billable. ahead are the token·blocks ordered since and not sent. A receipt that
// claims more than was ordered is refused and changes nothing.
func (t *Tab) Resumed(r *inference.Receipt, ahead inference.Units) error {
	p := t.purse
	if err := p.Adopt(r, t.hop.Signer); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.tabs[t.key()] != t || r.Session != t.hop.Session || r.Outcome != inference.OutcomeOpen {
		return nil
	}
	if err := t.tally.Reopen(r.Units, ahead); err != nil {
		return &ReceiptError{r.Session, r.Node, err}
	}
	t.horizon.Withdraw(t.tally.Due().Total())
	err := t.commit()
	if err == nil {
		err = p.append(func(e *encoder) { e.tab(t) })
	}
	if err != nil {
		return fmt.Errorf("resume tab: %w", err)
	}
	p.trim()
	return nil
}

// Tally returns the counts.
func (t *Tab) Tally() Tally {
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	return t.tally
}

// Close ends the session here. Without a final receipt the tab becomes one of
// Purse.Claims.
func (t *Tab) Close() error {
	p := t.purse
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || t.state != tabOpen || p.tabs[t.key()] != t {
		return nil
	}
	t.state = tabWaiting
	if err := t.commit(); err != nil {
		return fmt.Errorf("close tab: %w", err)
	}
	p.file(t)
	if err := p.append(func(e *encoder) { e.tab(t) }); err != nil {
		return fmt.Errorf("close tab: %w", err)
	}
	p.trim()
	return nil
}

func (t *Tab) key() tabKey { return tabKey{t.hop.Session, t.hop.Signer} }

// adopt checks everything that a receipt says against what was agreed.
func (t *Tab) adopt(r *inference.Receipt) error {
	signed := t.signed
	slack := uint64(0)
	if t.account != nil {
		signed = t.account.signed
	} else if known := t.tally.Bound.Total(); t.horizon.Started > known {
		// The process died: it may have ordered what it had promised.
		slack = t.horizon.Started - known
	}
	amount, ok := t.hop.Quote.Cost(r.Units)
	switch {
	case r.Node != t.hop.Wallet || r.Series != t.series:
		return fmt.Errorf("it is for node %s and series %d, not %s and %d", r.Node, r.Series, t.hop.Wallet, t.series)
	case t.purse != nil && r.Payer != t.purse.Payer():
		return fmt.Errorf("it is for payer %s", r.Payer)
	case r.Digest != t.hop.Digest:
		return fmt.Errorf("it is for model %s, not %s", r.Digest.Short(), t.hop.Digest.Short())
	case !ok || amount != r.Amount:
		return fmt.Errorf("its lines come to %s wei at the agreed quote, it says %s", amount, r.Amount)
	case r.Amount.Cmp(r.Cumulative) > 0 || r.Cumulative.Cmp(signed) > 0:
		return fmt.Errorf("it says %s wei in all, the vouchers promise %s", r.Cumulative, signed)
	}
	if r.Outcome == inference.OutcomeOpen {
		return t.tally.Advance(r.Units)
	}
	if err := t.tally.Agree(r.Units, slack); err != nil {
		return err
	}
	t.state = tabSettled
	return nil
}

// commit brings the account's sum up to date with what the tab may come to.
func (t *Tab) commit() error {
	if t.account == nil {
		return nil
	}
	h := t.horizon
	if t.state != tabOpen {
		h = Horizon{}
	}
	now, err := Commitment(t.hop.Quote, t.tally.Due(), h)
	if err != nil {
		return err
	}
	rest, _ := t.account.committed.Sub(t.charged)
	sum, ok := rest.Add(now)
	if !ok {
		return fmt.Errorf("%w: everything due to node %s", ErrAmount, t.hop.Wallet)
	}
	t.account.committed, t.charged = sum, now
	return nil
}

func (t *Tab) row() (rowKey, Row) {
	due := t.tally.Due()
	amount, ok := t.hop.Quote.Cost(due)
	if !ok {
		amount = inference.Wei{Hi: ^uint64(0), Lo: ^uint64(0)}
	}
	r := Row{Sessions: 1, Units: due, Amount: amount}
	if t.state != tabSettled {
		r.Unsettled = 1
	}
	return rowKey{dayOf(t.opened), t.hop.Model, t.hop.Wallet}, r
}
