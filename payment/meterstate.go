package payment

import (
	"container/list"
	"fmt"
	"slices"

	"github.com/farlabs/inference"
)

// seenVouchers is how many vouchers of a series may overtake each other on the
// way to the node.
const seenVouchers = 64

type seriesKey struct {
	payer  inference.Address
	series uint64
}

// series is one (payer, series).
type series struct {
	key     seriesKey
	peer    inference.PeerID
	voucher inference.Voucher // the highest
	spent   inference.Wei     // Σ cost of Done over its sessions
	taken   inference.Wei     // Σ cost of Done and Open
	gone    inference.Wei     // part of spent: sessions that are forgotten
	live    int               // sessions
	seen    []inference.Wei   // values of the last vouchers
	floor   inference.Wei     // at or below it every value counts as seen
}

// with returns a copy that bears v, for the journal.
func (s *series) with(v inference.Voucher) *series {
	c := *s
	c.voucher = v
	return &c
}

// fresh reports whether a voucher's value may be taken from a session: higher
// than all before, or overtaken by one of another session that is open now.
// last is the session's own highest value: within a session vouchers come in
// order.
func (s *series) fresh(c, last inference.Wei, others int) bool {
	if c.Cmp(s.voucher.Cumulative) > 0 {
		return true
	}
	return others > 0 && c.Cmp(last) > 0 && c.Cmp(s.floor) > 0 && !slices.Contains(s.seen, c)
}

// others returns how many sessions but a are open.
func (s *series) others(a *Account) int {
	if a.live {
		return s.live - 1
	}
	return s.live
}

func (s *series) saw(c inference.Wei) {
	s.seen = append(s.seen, c)
	if len(s.seen) > seenVouchers {
		if s.floor.Cmp(s.seen[0]) < 0 {
			s.floor = s.seen[0]
		}
		s.seen = s.seen[:copy(s.seen, s.seen[1:])]
	}
}

// meterState is what the journal holds, and what follows from it.
type meterState struct {
	series   map[seriesKey]*series
	sessions map[inference.SessionID]*Account // open, and those that ended last
	ended    *list.List                       // of *Account, first ended first
	live     int
	base     rows // usage of sessions that are no longer in sessions
}

func newMeterState() meterState {
	return meterState{
		series:   map[seriesKey]*series{},
		sessions: map[inference.SessionID]*Account{},
		ended:    list.New(),
		base:     rows{},
	}
}

// setSeries makes s known.
func (m *meterState) setSeries(s *series) { m.series[s.key] = s }

// setSession files a under its state: live or ended.
func (m *meterState) setSession(a *Account) {
	m.sessions[a.terms.Session] = a
	isLive := a.state.Outcome == inference.OutcomeOpen
	switch {
	case isLive && !a.live:
		m.live++
		a.series.live++
		if a.place != nil {
			m.ended.Remove(a.place)
			a.place = nil
		}
	case !isLive && a.live:
		m.live--
		a.series.live--
	}
	if a.live = isLive; !isLive && a.place == nil {
		a.place = m.ended.PushBack(a)
	}
}

// forget turns an ended session into usage.
func (m *meterState) forget(a *Account) {
	if a.place != nil {
		m.ended.Remove(a.place)
	}
	delete(m.sessions, a.terms.Session)
	cost, _ := a.terms.Quote.Cost(a.state.Done) // part of spent, so it fits
	a.series.gone, _ = a.series.gone.Add(cost)
	m.base.add(a.row())
	m.base.fold(maxRows)
}

// speaksFor reports whether a peer has opened a series with a payer's signature.
func (m *meterState) speaksFor(peer inference.PeerID, payer inference.Address) bool {
	if peer == "" {
		return false
	}
	for k, s := range m.series {
		if k.payer == payer && s.peer == peer {
			return true
		}
	}
	return false
}

// drop forgets a series; its sessions must have ended.
func (m *meterState) drop(s *series) {
	for _, a := range m.sessions {
		if a.series == s {
			m.forget(a)
		}
	}
	delete(m.series, s.key)
}

// cheapest returns the idle series whose voucher is lowest, nil if all are busy.
func (m *meterState) cheapest() (least *series) {
	for _, s := range m.series {
		if s.live == 0 && (least == nil || s.voucher.Cumulative.Cmp(least.voucher.Cumulative) < 0) {
			least = s
		}
	}
	return least
}

func (m *meterState) vouchers() []inference.Voucher {
	out := make([]inference.Voucher, 0, len(m.series))
	for _, s := range m.series {
		out = append(out, s.voucher)
	}
	slices.SortFunc(out, func(a, b inference.Voucher) int {
		if c := slices.Compare(a.Payer[:], b.Payer[:]); c != 0 {
			return c
		}
		return int(min(max(int64(a.Series-b.Series), -1), 1))
	})
	return out
}

func (m *meterState) usage() (u Usage) {
	all := m.base.clone()
	for _, a := range m.sessions {
		all.add(a.row())
	}
	u.Rows = all.list()
	for _, s := range m.series {
		u.Promised = addCapped(u.Promised, s.voucher.Cumulative)
	}
	return u
}

func addCapped(a, b inference.Wei) inference.Wei {
	if sum, ok := a.Add(b); ok {
		return sum
	}
	return inference.Wei{Hi: ^uint64(0), Lo: ^uint64(0)}
}

// apply takes one record of the journal.
func (m *meterState) apply(record []byte) error {
	d := &decoder{b: record}
	switch kind := d.u8(); kind {
	case recordSeries:
		return m.applySeries(d)
	case recordSession:
		return m.applySession(d)
	case recordRow:
		k, r := d.row()
		if err := d.end(); err != nil {
			return err
		}
		m.base.add(k, r)
	case recordForget:
		var id inference.SessionID
		d.fixed(id[:])
		if a := m.sessions[id]; a != nil && d.end() == nil {
			m.forget(a)
		}
		return d.end()
	case recordDrop:
		var k seriesKey
		d.fixed(k.payer[:])
		k.series = d.u64()
		if s := m.series[k]; s != nil && d.end() == nil {
			m.drop(s)
		}
		return d.end()
	default:
		return fmt.Errorf("%w: kind %q", errRecord, kind)
	}
	return nil
}

func (m *meterState) applySeries(d *decoder) error {
	var v inference.Voucher
	d.fixed(v.Payer[:])
	d.fixed(v.Node[:])
	v.Series = d.u64()
	v.Cumulative = d.wei()
	d.fixed(v.Signature[:])
	peer := inference.PeerID(d.text())
	gone := d.wei()
	if err := d.end(); err != nil {
		return err
	}
	k := seriesKey{v.Payer, v.Series}
	s := m.series[k]
	if s == nil {
		s = &series{key: k}
		m.setSeries(s)
	}
	rest, _ := s.spent.Sub(s.gone)
	spent, ok := rest.Add(gone)
	if !ok {
		return fmt.Errorf("%w: amount of series %d", errRecord, k.series)
	}
	s.peer, s.gone, s.spent, s.taken = peer, gone, spent, spent
	if s.voucher.Cumulative.Cmp(v.Cumulative) <= 0 {
		s.voucher, s.floor = v, v.Cumulative
	}
	return nil
}

func (m *meterState) applySession(d *decoder) error {
	var k seriesKey
	d.fixed(k.payer[:])
	k.series = d.u64()
	terms := d.terms()
	opened := d.u64()
	var st accountState
	st.Done = d.units()
	st.Outcome = inference.Outcome(d.u8())
	if err := d.end(); err != nil {
		return err
	}
	s := m.series[k]
	if s == nil {
		return fmt.Errorf("%w: session %s of an unknown series", errRecord, terms.Session)
	}
	a := m.sessions[terms.Session]
	if a == nil {
		a = &Account{series: s}
	} else if a.series != s {
		return fmt.Errorf("%w: session %s changes its series", errRecord, terms.Session)
	}
	cost, ok := terms.Quote.Cost(st.Done)
	before, _ := a.terms.Quote.Cost(a.state.Done)
	rest, ok1 := s.spent.Sub(before)
	sum, ok2 := rest.Add(cost)
	if !ok || !ok1 || !ok2 {
		return fmt.Errorf("%w: amount of session %s", errRecord, terms.Session)
	}
	s.spent, s.taken = sum, sum
	st.Bound = st.Done
	a.terms, a.opened, a.state, a.saved = terms, opened, st, st.Done.Total()
	m.setSession(a)
	return nil
}
