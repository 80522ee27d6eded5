package stage

import (
	"cmp"
	"slices"
	"time"
)

// item is one session's part in a pass.
type item struct {
	e    *session
	st   *step
	rows int // taken into this pass
	// Vouchers that the account had taken when the pass began.
	raised uint64
	err    error // *wire.Fail, errUnpaid, or what the pass failed with
	// Of Stage.segments: those of this item.
	from, to int
}

// pass makes one pass of what is ready; false means that nothing was. Only the
// scheduler calls it.
func (s *Stage) pass() bool {
	items := s.pick()
	if len(items) == 0 {
		return false
	}
	info := s.run(items)
	s.finish(items, &info)
	return true
}

// pick chooses the rows of the next pass. All sessions share one role and wire
// dtype: those of the session that has waited longest. Single tokens come
// first, but for a quarter that prompts always get; then prompts, clients by
// turns and each client's sessions by turns.
func (s *Stage) pick() []item {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.candidates[:0]
	for _, e := range s.sessions {
		if s.runnable(e) {
			ready = append(ready, e)
		}
	}
	s.candidates = ready
	items := s.items[:0]
	if len(ready) == 0 {
		return items
	}
	slices.SortFunc(ready, func(a, b *session) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.order, b.order))
	})
	k := ready[0].route.key()
	ready = slices.DeleteFunc(ready, func(e *session) bool { return e.route.key() != k })
	prompts := 0
	for _, e := range ready {
		if e.queue[0].prompt() {
			prompts++
		}
	}
	s.turn++
	now := time.Now()
	budget := s.cfg.Limits.PassRows
	reserve := 0
	if prompts > 0 {
		reserve = budget / 4
	}
	add := func(e *session, rows int) {
		st := e.queue[0]
		budget -= rows
		e.turn, e.inPass = s.turn, true
		if st.started.IsZero() {
			st.started = now
			s.begun(e, st.m.Seq, now)
		}
		items = append(items, item{e: e, st: st, rows: rows, raised: e.raised})
	}
	for _, e := range ready {
		if rows := e.queue[0].rows - e.queue[0].done; !e.queue[0].prompt() && (rows <= budget-reserve || len(items) == 0) {
			add(e, min(rows, budget))
		}
	}
	if prompts > 0 {
		ready = slices.DeleteFunc(ready, func(e *session) bool { return !e.queue[0].prompt() })
		slices.SortStableFunc(ready, func(a, b *session) int { return cmp.Compare(a.client.turn, b.client.turn) })
		for _, e := range ready {
			if budget == 0 {
				break
			}
			st := e.queue[0]
			e.client.turn = s.turn
			add(e, min(st.rows-st.done, budget))
		}
	}
	clear(s.candidates)
	s.items = items
	return items
}

// prompt reports whether what is left of a step is more than tokens being
// decoded.
func (st *step) prompt() bool { return st.rows-st.done > decodeMax }

// runnable reports whether the session's next step can be computed now, and
// takes the room for what it will send.
func (s *Stage) runnable(e *session) bool {
	if !e.open || e.failed || e.inPass || !e.lost.IsZero() || !e.unpaid.IsZero() || len(e.queue) == 0 || len(e.outbox) >= maxQueue {
		return false
	}
	st := e.queue[0]
	if st.begun || st.outBytes > 0 {
		return true
	}
	out := int64(emits(st.m, e.route.last) * s.cfg.Span.Hidden() * e.route.Wire.Bytes())
	if e.outBytes > 0 && e.outBytes+out > e.route.window || s.outBytes > 0 && s.outBytes+out > s.cfg.Limits.Memory {
		return false
	}
	st.outBytes = out
	e.outBytes += out
	s.outBytes += out
	return true
}
