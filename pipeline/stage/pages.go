package stage

import (
	"errors"
	"time"

	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

// Pages are taken as positions come, so sessions that fitted when they began
// may not fit for long. Who came first goes on: a session that finds no page
// free takes those of sessions that came after it, and gives up its own if there
// are none of these. So of the sessions that fill a node the oldest always gets
// to its end, and none takes pages back and forth with another.

// restingAfter is how long a session has no step before its pages may be taken
// by any other. The time that a step of a session under way spends at other hops
// is well below it.
const restingAfter = 30 * time.Second

// parkedRetry is when a session that had to give up its pages may ask again.
const parkedRetry = time.Second

// pages returns the KV pages of e; forks count those that they share. Branches
// in a pass are the scheduler's to ask for.
func (e *session) pages() (n int) {
	for _, b := range e.branches {
		n += b.Pages()
	}
	return n
}

// resting reports whether the pages of e may be taken by any other session:
// nothing has been asked of it for long, or its client is gone. s.mu is held.
func (e *session) resting(now time.Time) bool {
	if e.inPass {
		return false
	}
	return !e.lost.IsZero() || len(e.queue) == 0 && now.Sub(e.worked) >= restingAfter
}

// freePages returns the pages that a new session could have. s.mu is held.
func (s *Stage) freePages() int {
	n, now := s.cfg.Cache.FreePages(), time.Now()
	for _, e := range s.sessions {
		if e.resting(now) {
			n += e.pages()
		}
	}
	return min(n, s.cfg.Cache.TotalPages())
}

// grow makes room in b, a branch of items[i], for n positions. Only the
// scheduler calls it, with items in the order in which their sessions came: those
// after i are not prepared yet, and may lose their pages. An error is what the
// client is told.
func (s *Stage) grow(items []item, i int, b *model.Branch, n int) error {
	e, cache := items[i].e, s.cfg.Cache
	role := e.route.Role.Blocks.Len()
	want := role * ((n + model.PagePositions - 1) / model.PagePositions)
	if want > cache.TotalPages() {
		return s.noRoom(e)
	}
	err := b.Grow(n)
	if !errors.Is(err, model.ErrNoPages) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, others, junior := time.Now(), 0, 0
	for _, v := range s.sessions {
		if v != e {
			others += v.pages()
		}
		if e.mayTake(v, now) {
			junior += v.pages()
		}
	}
	for _, it := range items {
		if it.e.ended { // meanwhile; its pages are free after this pass
			others += it.e.pages()
		}
	}
	if others == 0 {
		return s.noRoom(e)
	}
	if cache.FreePages()+junior >= want-b.Pages() {
		for errors.Is(err, model.ErrNoPages) {
			v := s.victim(e, now)
			if v == nil {
				break
			}
			s.park(items[i+1:], v)
			err = b.Grow(n)
		}
		if !errors.Is(err, model.ErrNoPages) {
			return err
		}
	}
	s.releaseBranches(e) // others need them while it waits
	f := refuse(wire.CodeBusy, "%v", err)
	f.RetryAfter = uint32(parkedRetry.Milliseconds())
	return f
}

// mayTake reports whether e may have the pages of v. s.mu is held.
func (e *session) mayTake(v *session, now time.Time) bool {
	return v != e && len(v.branches) > 0 && (v.order > e.order || v.resting(now))
}

// victim returns the session whose pages e takes: one that rests, else the newest
// one of the client that holds most; nil if there is none that may be taken
// from. s.mu is held.
func (s *Stage) victim(e *session, now time.Time) *session {
	held := map[*client]int{}
	for _, v := range s.sessions {
		held[v.client] += v.pages()
	}
	var best *session
	for _, v := range s.sessions {
		if !e.mayTake(v, now) || v.pages() == 0 {
			continue
		}
		if best == nil || parksBefore(v, best, held, now) {
			best = v
		}
	}
	return best
}

// parksBefore reports whether v is parked rather than w.
func parksBefore(v, w *session, held map[*client]int, now time.Time) bool {
	if a, b := v.resting(now), w.resting(now); a != b {
		return a
	}
	if a, b := held[v.client], held[w.client]; a != b {
		return a > b
	}
	return v.order > w.order
}

// park takes all pages of v, whose client is told to come again; it has the
// positions computed again then. waiting are the items of the pass at hand that
// are not prepared. s.mu is held.
func (s *Stage) park(waiting []item, v *session) {
	s.cfg.Log.Debug("session parked", "session", v.id, "pages", v.pages(), "free", s.cfg.Cache.FreePages())
	f := refuse(wire.CodeBusy, "out of KV pages: those of this session went to another")
	f.RetryAfter = uint32(parkedRetry.Milliseconds())
	s.releaseBranches(v)
	for i := range waiting {
		if waiting[i].e == v {
			waiting[i].err = f
			return
		}
	}
	s.fail(v, 0, f)
}

// noRoom refuses a session that this node could not serve if it were alone here.
func (s *Stage) noRoom(e *session) *wire.Fail {
	positions := s.cfg.Cache.TotalPages() / e.route.Role.Blocks.Len() * model.PagePositions
	return refuse(wire.CodeNoRoom, "this node's KV cache holds %d positions of blocks %s: allow it more (--kv-cache, --memory), or use a shorter prompt",
		positions, e.route.Role.Blocks)
}
