package payment

import "github.com/farlabs/inference"

func (e *encoder) series(s *series) {
	e.u8(recordSeries)
	v := &s.voucher
	e.raw(v.Payer[:])
	e.raw(v.Node[:])
	e.u64(v.Series)
	e.wei(v.Cumulative)
	e.raw(v.Signature[:])
	e.text(string(s.peer))
	e.wei(s.gone)
}

func (e *encoder) session(a *Account, t *Terms, st *accountState) {
	e.u8(recordSession)
	e.raw(a.series.key.payer[:])
	e.u64(a.series.key.series)
	e.terms(t)
	e.u64(a.opened)
	e.units(st.Done)
	e.u8(uint8(st.Outcome))
}

func (m *Meter) appendSeries(s *series) error {
	m.scratch = m.scratch[:0]
	m.scratch.series(s)
	return m.journal.Append(m.scratch)
}

func (m *Meter) appendSession(a *Account, t *Terms, st *accountState) error {
	m.scratch = m.scratch[:0]
	m.scratch.session(a, t, st)
	return m.journal.Append(m.scratch)
}

// trim keeps the state within its bounds. What the journal refuses to hear of,
// a full disk, stays until the next time.
func (m *Meter) trim() {
	for m.ended.Len() > maxEnded {
		a := m.ended.Front().Value.(*Account)
		m.scratch = append(m.scratch[:0], recordForget)
		m.scratch.raw(a.terms.Session[:])
		if m.failed = m.journal.Append(m.scratch); m.failed != nil {
			return
		}
		m.forget(a)
	}
	for len(m.series) > maxSeries {
		s := m.cheapest()
		if s == nil {
			return
		}
		m.scratch = append(m.scratch[:0], recordDrop)
		m.scratch.raw(s.key.payer[:])
		m.scratch.u64(s.key.series)
		if m.failed = m.journal.Append(m.scratch); m.failed != nil {
			return
		}
		m.drop(s)
	}
}

// endOrphans ends the sessions that nobody works on any more.
func (m *Meter) endOrphans() {
	for _, a := range m.sessions {
		a.meter = m
		if a.live {
			a.end(inference.OutcomeNodeFault)
			m.setSession(a)
		}
	}
	m.trim()
}

// compact rewrites the journal when most of it is history. Where that fails the
// long one goes on.
func (m *Meter) compact() {
	if size := m.journal.Size(); size >= compactSize && size >= 3*m.rewrote {
		_ = m.rewrite()
	}
}

func (m *Meter) rewrite() error {
	err := m.journal.Rewrite(func(emit func([]byte) error) error {
		put := func(fill func(e *encoder)) error {
			m.scratch = m.scratch[:0]
			fill(&m.scratch)
			return emit(m.scratch)
		}
		for k, r := range m.base {
			if err := put(func(e *encoder) { e.row(k, r) }); err != nil {
				return err
			}
		}
		for _, s := range m.series {
			if err := put(func(e *encoder) { e.series(s) }); err != nil {
				return err
			}
		}
		session := func(a *Account) error {
			return put(func(e *encoder) { e.session(a, &a.terms, &a.state) })
		}
		for p := m.ended.Front(); p != nil; p = p.Next() { // in their order
			if err := session(p.Value.(*Account)); err != nil {
				return err
			}
		}
		for _, a := range m.sessions {
			if a.live {
				if err := session(a); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		m.rewrote = m.journal.Size()
		for _, a := range m.sessions {
			a.saved = a.state.Done.Total()
		}
	}
	return err
}
