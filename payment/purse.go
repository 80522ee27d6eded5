package payment

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment/journal"
)

// Bounds of what a purse keeps. Of the tabs that are no longer in use the one
// that ended first becomes a row of usage, and can be settled no more.
const (
	maxTabs      = 4096 // in use
	maxEndedTabs = 2048
	maxAccounts  = 65536
	claimTime    = 30 * 24 * time.Hour // an earlier process's session waits so long for its final receipt
)

// PurseConfig configures a Purse.
type PurseConfig struct {
	Dir    string // made if missing; several processes may use it at once, each has its own file there
	Key    *Key   // the payer
	Domain Domain

	noSync bool
}

// Purse is the client's side: it signs vouchers tranche by tranche and counts
// what nodes may bill. A purse is one series, new in every process, so that no
// crash can make it sign less than before. Its methods and those of its tabs
// may be called at the same time.
type Purse struct {
	cfg    PurseConfig
	series uint64
	lock   *journal.Lock

	mu       sync.Mutex
	journal  *journal.Journal
	accounts map[inference.Address]*account // by wallet
	purseState
	scratch encoder
	rewrote int64 // bytes after the last rewrite
	closed  bool
}

// account is this payer's and series' with one wallet. It is never forgotten
// while the purse is open: the next voucher must be higher.
type account struct {
	signed    inference.Wei // highest voucher
	committed inference.Wei // Σ commitments of its tabs
}

// OpenPurse starts a series. It takes over what processes that are gone left in
// cfg.Dir: their usage, and the sessions that wait for a final receipt.
func OpenPurse(cfg PurseConfig) (*Purse, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open purse: %w", err)
	}
	p := &Purse{cfg: cfg, accounts: map[inference.Address]*account{}}
	if err := p.start(); err != nil {
		return nil, fmt.Errorf("open purse: %w", err)
	}
	if err := p.inherit(); err != nil {
		p.kill()
		return nil, fmt.Errorf("open purse: %w", err)
	}
	return p, nil
}

// Payer returns the account that pays.
func (p *Purse) Payer() inference.Address { return p.cfg.Key.Address() }

// Series returns the series of this process.
func (p *Purse) Series() uint64 { return p.series }

// HopTerms are what a client knows of a session at a hop.
type HopTerms struct {
	Terms
	Wallet inference.Address // is paid: NodeRecord.Wallet
	Signer inference.Address // signs receipts: NodeRecord.Signer
	// Limit is the most token·blocks that the session may need at this hop, 0
	// when unknown. It keeps the last vouchers from promising more.
	Limit uint64
}

// Open opens a tab, or opens it again for another role: the counts go on, the
// first quote stays. The first Order after it returns a voucher in any case,
// for the message that opens the session at the node.
func (p *Purse) Open(h HopTerms) (*Tab, error) {
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("open tab: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("open tab: %w", ErrClosed)
	}
	t := p.tabs[tabKey{h.Session, h.Signer}]
	if t != nil && (t.series != p.series || t.hop.Wallet != h.Wallet) {
		return nil, fmt.Errorf("open tab: %w: session %s", ErrForeignSeries, h.Session)
	}
	if (t == nil || t.state != tabOpen) && len(p.tabs)-p.ended.Len() >= maxTabs {
		return nil, fmt.Errorf("open tab: %w", ErrFull)
	}
	a := p.accounts[h.Wallet]
	if a == nil {
		if len(p.accounts) >= maxAccounts {
			return nil, fmt.Errorf("open tab: %w", ErrFull)
		}
		a = &account{}
		p.accounts[h.Wallet] = a
	}
	if t == nil {
		t = &Tab{purse: p, account: a, series: p.series, opened: uint64(time.Now().Unix())}
	} else {
		h.Quote = t.hop.Quote
	}
	t.hop, t.state, t.announce = h, tabOpen, true
	t.horizon.Tranche, t.horizon.Limit = h.tranche(), h.Limit
	p.file(t)
	return t, nil
}

// Claims returns the sessions at the node with this signer that are over and
// wait for their final receipt, this process's and earlier ones'. Ask the node
// for the receipts and hand them to Adopt.
func (p *Purse) Claims(signer inference.Address) []inference.SessionID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []inference.SessionID
	for e := p.ended.Front(); e != nil; e = e.Next() {
		if t := e.Value.(*Tab); t.state == tabWaiting && t.hop.Signer == signer {
			ids = append(ids, t.hop.Session)
		}
	}
	return ids
}

// Adopt takes a receipt of the node with this signer. While its session is open
// it acknowledges a voucher; when it is final both sides have the same count
// from then on. A *ReceiptError says what is wrong with it; the purse's count
// is as it was.
func (p *Purse) Adopt(r *inference.Receipt, signer inference.Address) error {
	if err := p.cfg.Domain.VerifyReceipt(r, signer); err != nil {
		return &ReceiptError{r.Session, r.Node, err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("adopt receipt: %w", ErrClosed)
	}
	t := p.tabs[tabKey{r.Session, signer}]
	if t == nil {
		return fmt.Errorf("adopt receipt: %w: %s", ErrUnknownSession, r.Session)
	}
	before := *t
	if err := t.adopt(r); err != nil {
		return &ReceiptError{r.Session, r.Node, err}
	}
	if err := t.commit(); err != nil {
		*t = before
		return fmt.Errorf("adopt receipt: %w", err)
	}
	p.file(t)
	if err := p.append(func(e *encoder) { e.tab(t) }); err != nil {
		return fmt.Errorf("adopt receipt: %w", err)
	}
	p.trim()
	p.journal.SyncSoon()
	return nil
}

// Lost settles a claim of which the node says that it knows nothing: its Open
// never arrived, or was too long ago. What is known to be delivered counts.
func (p *Purse) Lost(session inference.SessionID, signer inference.Address) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("settle lost session: %w", ErrClosed)
	}
	t := p.tabs[tabKey{session, signer}]
	if t == nil || t.state != tabWaiting {
		return fmt.Errorf("settle lost session: %w: %s", ErrUnknownSession, session)
	}
	t.tally.Open, t.state = inference.Units{}, tabSettled
	if err := t.commit(); err != nil {
		return fmt.Errorf("settle lost session: %w", err)
	}
	if err := p.append(func(e *encoder) { e.tab(t) }); err != nil {
		return fmt.Errorf("settle lost session: %w", err)
	}
	p.trim()
	return nil
}

// Signed returns the highest voucher of this series to a wallet, zero if none.
func (p *Purse) Signed(wallet inference.Address) inference.Wei {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.accounts[wallet]; a != nil {
		return a.signed
	}
	return inference.Wei{}
}

// Usage says what was spent, by day, model and node, with this process's file
// and what it took over; ReadSpending reads those of other processes too.
func (p *Purse) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usage()
}

// Close persists everything and ends the series.
func (p *Purse) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	for _, t := range p.tabs {
		if t.state == tabOpen {
			t.state = tabWaiting
			p.file(t)
		}
	}
	return errors.Join(p.rewrite(), p.journal.Close(), p.lock.Release())
}

// kill lets go of everything as the death of the process would.
func (p *Purse) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.journal.Abandon()
	p.lock.Release()
}

func (p *Purse) append(fill func(e *encoder)) error {
	p.scratch = p.scratch[:0]
	fill(&p.scratch)
	return p.journal.Append(p.scratch)
}

// trim keeps the state within its bounds; see Meter.trim.
func (p *Purse) trim() {
	for p.ended.Len() > maxEndedTabs {
		t := p.ended.Front().Value.(*Tab)
		err := p.append(func(e *encoder) {
			e.u8(recordForget)
			e.raw(t.hop.Session[:])
			e.raw(t.hop.Signer[:])
		})
		if err != nil {
			return
		}
		p.forget(t)
	}
	if size := p.journal.Size(); size >= compactSize && size >= 3*p.rewrote {
		_ = p.rewrite() // else the long journal goes on
	}
}

func (p *Purse) rewrite() error {
	err := p.journal.Rewrite(func(emit func([]byte) error) error {
		return p.snapshot(func(fill func(e *encoder)) error {
			p.scratch = p.scratch[:0]
			fill(&p.scratch)
			return emit(p.scratch)
		})
	})
	if err == nil {
		p.rewrote = p.journal.Size()
	}
	return err
}
