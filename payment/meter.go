package payment

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment/journal"
)

// DefaultCredit is the unpaid work that a node grants to each (payer, series),
// tokens.
const DefaultCredit = 64

// Bounds of what a meter keeps. Beyond maxSeries the idle series with the
// lowest voucher is forgotten, beyond maxEnded the session that ended first
// becomes a row of usage.
const (
	maxSeries   = 8192
	maxLive     = 4096
	maxEnded    = 2048
	compactSize = 4 << 20 // bytes of a journal that are worth a rewrite
)

// MeterConfig configures a Meter.
type MeterConfig struct {
	Dir    string            // made if missing; one process at a time
	Key    *Key              // signs receipts: the NodeRecord's Signer
	Wallet inference.Address // vouchers must name it: the NodeRecord's Wallet
	Domain Domain
	Credit uint64 // tokens unpaid per (payer, series); 0: strictly paid ahead. Command lines default to DefaultCredit

	noSync bool
}

// Meter is the node's side: it takes vouchers, counts work, and stops work that
// is neither paid for nor within the credit. Everything it acknowledged is
// there after a crash. Its methods and those of its accounts may be called at
// the same time.
type Meter struct {
	cfg  MeterConfig
	lock *journal.Lock

	mu      sync.Mutex
	journal *journal.Journal
	meterState
	scratch encoder
	rewrote int64 // bytes after the last rewrite
	failed  error // an append for work that was already done; the next Charge reports it
	closed  bool
}

// OpenMeter opens or creates the meter in cfg.Dir. Sessions that were open when
// the last process died end as OutcomeNodeFault at what it had persisted.
func OpenMeter(cfg MeterConfig) (*Meter, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open meter: %w", err)
	}
	m := &Meter{cfg: cfg, meterState: newMeterState()}
	var err error
	if m.lock, err = journal.TakeLock(filepath.Join(cfg.Dir, "meter.lock")); err != nil {
		return nil, fmt.Errorf("open meter: %w", err)
	}
	m.journal, err = journal.Open(meterPath(cfg.Dir), journal.Options{Kind: meterKind, NoSync: cfg.noSync}, m.apply)
	if err == nil {
		m.endOrphans()
		err = m.rewrite()
	}
	if err != nil {
		if m.journal != nil {
			m.journal.Abandon()
		}
		m.lock.Release()
		return nil, fmt.Errorf("open meter: %w", err)
	}
	return m, nil
}

const meterKind = "far meter 1"

func meterPath(dir string) string { return filepath.Join(dir, "meter.journal") }

// OpenInfo is what a stage knows of a session when it opens or reopens it.
type OpenInfo struct {
	Terms
	Peer inference.PeerID // of the client; binds the series, "" does not
	Ask  inference.Quote  // the node's own quote; an agreed line below it is refused. Zero: nothing is checked
}

func (i *OpenInfo) validate() error {
	if err := i.Terms.validate(); err != nil {
		return err
	}
	if len(i.Peer) > 128 {
		return fmt.Errorf("peer id of %d bytes: %w", len(i.Peer), inference.ErrInvalid)
	}
	for l, ask := range i.Ask {
		if i.Quote[l].Cmp(ask) < 0 {
			return fmt.Errorf("%w: %s at %s wei per token·block, asked %s", ErrQuote, inference.Line(l), i.Quote[l], ask)
		}
	}
	return nil
}

// Open checks the voucher and opens the session's account, or opens it again
// with a higher epoch and another role: the counts go on, the first quote
// stays. It returns when voucher and session are on the disk, one fsync for all
// who wait. A session that is known may come without a new voucher, from the
// same peer: v is nil then. A voucher must be higher than all before, unless
// one of another open session has overtaken it: then it counts, once, as the
// sign of its payer, and the higher one stays.
func (m *Meter) Open(info OpenInfo, v *inference.Voucher) (*Account, error) {
	if err := info.validate(); err != nil {
		return nil, fmt.Errorf("open account: %w", err)
	}
	if v != nil {
		if err := m.check(v); err != nil {
			return nil, fmt.Errorf("open account: %w", err)
		}
	}
	a, err := m.open(&info, v)
	if err != nil {
		return nil, fmt.Errorf("open account: %w", err)
	}
	if err := m.journal.Sync(); err != nil {
		_, _ = a.Close(inference.OutcomeNodeFault)
		return nil, fmt.Errorf("open account: %w", err)
	}
	return a, nil
}

// check does what needs no lock.
func (m *Meter) check(v *inference.Voucher) error {
	if v.Node != m.cfg.Wallet {
		return fmt.Errorf("%w: %s, this is %s", ErrForeignNode, v.Node, m.cfg.Wallet)
	}
	return m.cfg.Domain.VerifyVoucher(v)
}

func (m *Meter) open(info *OpenInfo, v *inference.Voucher) (*Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	a, again := m.sessions[info.Session]
	if v == nil {
		if !again || a.series.peer != info.Peer {
			return nil, ErrNoVoucher
		}
		v = &a.series.voucher
	} else if again && a.series.key != (seriesKey{v.Payer, v.Series}) {
		return nil, fmt.Errorf("%w: session %s", ErrForeignSeries, info.Session)
	}
	s, known := m.series[seriesKey{v.Payer, v.Series}]
	if !known {
		s = &series{key: seriesKey{v.Payer, v.Series}, peer: info.Peer}
	}
	if s.peer != info.Peer && info.Peer != "" && s.peer != "" {
		return nil, fmt.Errorf("%w: opened by %s", ErrForeignSeries, s.peer.Short())
	}
	if (!again || !a.live) && m.live >= maxLive {
		return nil, ErrFull
	}
	if !again {
		a = &Account{meter: m, series: s, terms: info.Terms, opened: uint64(time.Now().Unix())}
	}
	if v != &s.voucher && known && !s.fresh(v.Cumulative, a.last, s.others(a)) {
		return nil, ErrStaleVoucher
	}
	terms, after := info.Terms, a.state
	terms.Quote, after.Outcome = a.terms.Quote, inference.OutcomeOpen
	credit := creditOf(&terms, m.cfg.Credit)

	high := s.voucher
	if !known || v.Cumulative.Cmp(high.Cumulative) > 0 {
		high = *v
	}
	if err := covered(s.taken, high.Cumulative, credit, m.cfg.Credit); err != nil {
		return nil, err
	}
	if high != s.voucher || !known {
		if err := m.appendSeries(s.with(high)); err != nil {
			return nil, err
		}
	}
	if err := m.appendSession(a, &terms, &after); err != nil {
		return nil, err
	}
	m.setSeries(s)
	if v != &s.voucher {
		s.saw(v.Cumulative)
		a.last = v.Cumulative
	}
	s.voucher = high
	a.terms, a.state, a.credit, a.saved = terms, after, credit, after.Done.Total()
	m.setSession(a)
	m.trim()
	m.compact()
	return a, nil
}

// creditOf returns what the decoding of so many tokens costs, or the largest
// amount where it is more than that.
func creditOf(t *Terms, tokens uint64) inference.Wei {
	hi, units := bits.Mul64(tokens, uint64(t.Blocks.Len()))
	if hi == 0 {
		if w, ok := t.Quote[inference.LineDecode].Mul(units); ok {
			return w
		}
	}
	if t.Quote[inference.LineDecode].IsZero() {
		return inference.Wei{}
	}
	return inference.Wei{Hi: math.MaxUint64, Lo: math.MaxUint64}
}

// covered reports whether taken is within voucher and credit.
func covered(taken, voucher, credit inference.Wei, tokens uint64) error {
	limit, ok := voucher.Add(credit)
	if !ok || taken.Cmp(limit) <= 0 {
		return nil
	}
	missing, _ := taken.Sub(limit)
	return &CreditError{Missing: missing, Credit: credit, Tokens: tokens}
}

// Settle returns the signed final receipt of a session that ended, so that a
// client which lost it, with its process or the connection, can adopt it. A
// session that is still open answers with OutcomeOpen. Only the payer's peers get
// one: that which opened the session's series, or one that has opened another
// series here with the payer's signature, as the process after a dead one does.
// For all others the session is unknown.
func (m *Meter) Settle(peer inference.PeerID, id inference.SessionID) (inference.Receipt, error) {
	m.mu.Lock()
	a, ok := m.sessions[id]
	ok = ok && (a.series.peer == peer || m.speaksFor(peer, a.series.key.payer))
	m.mu.Unlock()
	if !ok {
		return inference.Receipt{}, fmt.Errorf("settle: %w: %s", ErrUnknownSession, id)
	}
	return a.Receipt()
}

// Vouchers returns the highest voucher of every series: what can be claimed.
func (m *Meter) Vouchers() []inference.Voucher {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vouchers()
}

// Usage says what was earned, by day, model and payer.
func (m *Meter) Usage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usage()
}

// ReadEarnings says what the meter in dir has earned, also while a node is
// running there; it can lag by one tranche per session.
func ReadEarnings(dir string) (Usage, error) {
	s := newMeterState()
	if err := journal.Read(meterPath(dir), meterKind, s.apply); err != nil {
		return Usage{}, fmt.Errorf("read earnings: %w", err)
	}
	return s.usage(), nil
}

// Close persists every count and closes the meter. Sessions that are still open
// end as OutcomeNodeFault: the node leaves.
func (m *Meter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.endOrphans()
	return errors.Join(m.rewrite(), m.journal.Close(), m.lock.Release())
}

// kill lets go of everything as the death of the process would.
func (m *Meter) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.journal.Abandon()
	m.lock.Release()
}
