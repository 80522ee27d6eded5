package payment

import (
	"container/list"
	"fmt"

	"github.com/farlabs/inference"
)

type tabKey struct {
	session inference.SessionID
	signer  inference.Address
}

// purseState is what a series' file holds.
type purseState struct {
	own      uint64 // series of the file
	tabs     map[tabKey]*Tab
	ended    *list.List // of *Tab that are not open, first ended first
	base     rows       // usage of tabs that are forgotten
	promises map[inference.Address]inference.Wei
	promised inference.Wei   // of absorbed series
	absorbed map[uint64]bool // series whose files are contained in this one
}

func newPurseState(series uint64) purseState {
	return purseState{
		own: series, tabs: map[tabKey]*Tab{}, ended: list.New(), base: rows{},
		promises: map[inference.Address]inference.Wei{}, absorbed: map[uint64]bool{},
	}
}

// file puts t where its state belongs.
func (s *purseState) file(t *Tab) {
	s.tabs[t.key()] = t
	switch {
	case t.state == tabOpen && t.place != nil:
		s.ended.Remove(t.place)
		t.place = nil
	case t.state != tabOpen && t.place == nil:
		t.place = s.ended.PushBack(t)
	}
}

// forget turns a tab into usage.
func (s *purseState) forget(t *Tab) {
	if t.place != nil {
		s.ended.Remove(t.place)
		t.place = nil
	}
	delete(s.tabs, t.key())
	s.base.add(t.row())
	s.base.fold(maxRows)
}

func (s *purseState) noteSigned(t *Tab) {
	if t.series == s.own && s.promises[t.hop.Wallet].Cmp(t.signed) < 0 {
		s.promises[t.hop.Wallet] = t.signed
	}
}

// total returns the sum of the highest vouchers.
func (s *purseState) total() inference.Wei {
	sum := s.promised
	for _, w := range s.promises {
		sum = addCapped(sum, w)
	}
	return sum
}

func (s *purseState) usage() Usage {
	all := s.base.clone()
	for _, t := range s.tabs {
		all.add(t.row())
	}
	return Usage{Rows: all.list(), Promised: s.total()}
}

func (e *encoder) tab(t *Tab) {
	e.u8(recordTab)
	e.u64(t.series)
	e.terms(&t.hop.Terms)
	e.raw(t.hop.Wallet[:])
	e.raw(t.hop.Signer[:])
	e.u64(t.opened)
	e.units(t.tally.Open)
	e.units(t.tally.Done)
	e.units(t.tally.Bound)
	e.u64(t.horizon.Started)
	e.wei(t.signed)
	e.u8(uint8(t.state))
}

func (d *decoder) tab() *Tab {
	t := &Tab{series: d.u64()}
	t.hop.Terms = d.terms()
	d.fixed(t.hop.Wallet[:])
	d.fixed(t.hop.Signer[:])
	t.opened = d.u64()
	t.tally.Open, t.tally.Done, t.tally.Bound = d.units(), d.units(), d.units()
	t.horizon.Started = d.u64()
	t.signed = d.wei()
	t.state = tabState(d.u8())
	if d.err == nil && t.state >= numTabStates {
		d.err = fmt.Errorf("%w: tab state %d", errRecord, t.state)
	}
	for i, n := range t.tally.Bound {
		if open, done := t.tally.Open[i], t.tally.Done[i]; d.err == nil && (open+done < open || open+done > n) {
			d.err = fmt.Errorf("%w: tally of %s", errRecord, inference.Line(i))
		}
	}
	return t
}

// snapshot puts every record that makes the state.
func (s *purseState) snapshot(put func(fill func(e *encoder)) error) error {
	for k, r := range s.base {
		if err := put(func(e *encoder) { e.row(k, r) }); err != nil {
			return err
		}
	}
	for n := range s.absorbed {
		if err := put(func(e *encoder) { e.u8(recordAbsorbed); e.u64(n) }); err != nil {
			return err
		}
	}
	if err := put(func(e *encoder) { e.u8(recordPromised); e.wei(s.promised) }); err != nil {
		return err
	}
	for wallet, w := range s.promises {
		if err := put(func(e *encoder) { e.u8(recordSigned); e.raw(wallet[:]); e.wei(w) }); err != nil {
			return err
		}
	}
	for p := s.ended.Front(); p != nil; p = p.Next() { // in their order
		if err := put(func(e *encoder) { e.tab(p.Value.(*Tab)) }); err != nil {
			return err
		}
	}
	for _, t := range s.tabs {
		if t.state == tabOpen {
			if err := put(func(e *encoder) { e.tab(t) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply takes one record of the journal.
func (s *purseState) apply(record []byte) error {
	d := &decoder{b: record}
	switch kind := d.u8(); kind {
	case recordTab:
		t := d.tab()
		if err := d.end(); err != nil {
			return err
		}
		if old := s.tabs[t.key()]; old != nil {
			t.place = old.place
			if t.place != nil {
				t.place.Value = t
			}
		}
		s.file(t)
		s.noteSigned(t)
	case recordRow:
		k, r := d.row()
		if err := d.end(); err != nil {
			return err
		}
		s.base.add(k, r)
		s.base.fold(maxRows)
	case recordForget:
		var k tabKey
		d.fixed(k.session[:])
		d.fixed(k.signer[:])
		if t := s.tabs[k]; t != nil && d.end() == nil {
			s.forget(t)
		}
	case recordSigned:
		var wallet inference.Address
		d.fixed(wallet[:])
		if w := d.wei(); d.end() == nil && s.promises[wallet].Cmp(w) < 0 {
			s.promises[wallet] = w
		}
	case recordPromised:
		if w := d.wei(); d.end() == nil {
			s.promised = addCapped(s.promised, w)
		}
	case recordAbsorbed:
		if n := d.u64(); d.end() == nil {
			s.absorbed[n] = true
		}
	default:
		return fmt.Errorf("%w: kind %q", errRecord, kind)
	}
	return d.end()
}
