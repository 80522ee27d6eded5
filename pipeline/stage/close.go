package stage

import (
	"cmp"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// clear drops everything of e that waits, but for a step that is in a pass.
// s.mu is held.
func (s *Stage) clear(e *session) {
	for seq, st := range e.ahead {
		s.drop(e, st)
		delete(e.ahead, seq)
	}
	keep := 0
	if e.inPass {
		keep = 1
	}
	for i := keep; i < len(e.queue); i++ {
		s.drop(e, e.queue[i])
		e.queue[i] = nil
	}
	e.queue = e.queue[:min(keep, len(e.queue))]
	for i, o := range e.outbox {
		s.refund(e, &o.units)
		n := int64(len(o.f.Payload.Data))
		e.outBytes -= n
		s.outBytes -= n
		o.f.Release()
		e.outbox[i] = outgoing{}
	}
	e.outbox = e.outbox[:0]
	e.unpaid = time.Time{}
}

// drop gives up a step that no pass holds. s.mu is held.
func (s *Stage) drop(e *session, st *step) {
	n := st.rows - st.done
	s.pending -= n
	e.client.pending -= n
	st.payload.Release()
	st.out.Release()
	e.outBytes -= st.outBytes
	s.outBytes -= st.outBytes
	s.refund(e, &st.charged)
}

func (s *Stage) refund(e *session, u *inference.Units) {
	for line, n := range u {
		if n > 0 && e.account != nil {
			e.account.Refund(inference.Line(line), n)
		}
		u[line] = 0
	}
}

func (s *Stage) releaseBranches(e *session) {
	for id, b := range e.branches {
		b.Release()
		delete(e.branches, id)
	}
}

// end closes a session: nothing more is done for it, its memory is freed at
// once or after the pass that it is in, and its account is closed. s.mu is held.
func (s *Stage) end(e *session, outcome inference.Outcome) {
	if e.ended {
		return
	}
	e.ended, e.outcome = true, outcome
	if !e.failed && e.reported.Sent != e.sent {
		s.progress(e, 0, time.Now()) // what has left is billed
	}
	s.clear(e)
	if !e.since.IsZero() {
		s.cfg.Log.Debug("session ended", "session", e.id, "outcome", outcome.String(),
			"positions", e.positions, "units", e.units, "ms", time.Since(e.since).Milliseconds())
	}
	delete(s.sessions, e.id)
	s.reserve(e, 0)
	if f := s.cfg.Events.SessionClosed; f != nil {
		f(s.info(e), outcome)
	}
	if !e.inPass {
		s.bury(e)
	}
}

// bury frees the branches of an ended session and closes its account. s.mu is
// held.
func (s *Stage) bury(e *session) {
	s.releaseBranches(e)
	s.clerk(e, taskClose, func() {
		if a := e.account; a != nil {
			receipt, err := a.Close(e.outcome)
			if err != nil {
				s.cfg.Log.Warn("close account", "session", e.id, "err", err)
			} else {
				s.receipt(e.client.id, &receipt)
			}
		}
		s.mu.Lock()
		s.live--
		if e.client.live--; e.client.live == 0 {
			delete(s.clients, e.client.id)
		}
		s.mu.Unlock()
	})
}

// task is a kind of job that may wait for disk or network. Of each kind one
// waits at most, so a session has no more jobs than there are kinds.
type task uint8

const (
	taskOpen    task = iota // settle the newest Open
	taskVoucher             // take the newest voucher
	taskClose               // close the account; once
)

type job struct {
	task task
	run  func()
}

// clerk runs a job after those before it. One of the same kind that still
// waits is dropped: the new one, behind all others, says more. s.mu is held.
func (s *Stage) clerk(e *session, t task, run func()) {
	e.jobs = slices.DeleteFunc(e.jobs, func(j job) bool { return j.task == t })
	e.jobs = append(e.jobs, job{t, run})
	if e.busy {
		return
	}
	e.busy = true
	s.clerks.Go(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for len(e.jobs) > 0 {
			run := e.jobs[0].run
			e.jobs = slices.Delete(e.jobs, 0, 1)
			s.mu.Unlock()
			run()
			s.mu.Lock()
		}
		e.busy = false
	})
}

// maxSettling bounds the final receipts that are looked up at once; who asks
// for one more is told to come again.
const maxSettling = 16

// lastWord answers Close of a session that is over with its final receipt, so
// that a client which lost it knows what both sides count. Who may ask is the meter's to say:
// a session of somebody else is an unknown one. s.mu is held.
func (s *Stage) lastWord(to inference.PeerID, id inference.SessionID) {
	if s.cfg.Meter == nil || s.stopped {
		s.unknown(to, id, 0)
		return
	}
	if s.settling >= maxSettling {
		f := refuse(wire.CodeBusy, "%d final receipts are being looked up", s.settling)
		f.Session, f.RetryAfter = id, 1000
		s.send(to, f)
		return
	}
	s.settling++
	s.clerks.Go(func() {
		receipt, err := s.cfg.Meter.Settle(to, id)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settling--
		if err != nil {
			s.unknown(to, id, 0)
			return
		}
		if !s.receipt(to, &receipt) {
			f := refuse(wire.CodeInternal, "the session's account is damaged")
			f.Session = id
			s.send(to, f)
		}
	})
}

// receipt sends a receipt, unless it is one that the other side cannot parse:
// it would cost the link, with all other sessions on it.
func (s *Stage) receipt(to inference.PeerID, r *inference.Receipt) bool {
	if err := r.Blocks.Validate(); err != nil {
		s.cfg.Log.Error("receipt not sent", "session", r.Session, "err", err)
		return false
	}
	s.send(to, &wire.Receipt{Receipt: *r})
	return true
}

// takeVoucher hands a voucher to the account; only the last of those that wait
// matters. s.mu is held.
func (s *Stage) takeVoucher(e *session, v *inference.Voucher) {
	s.clerk(e, taskVoucher, func() {
		s.mu.Lock()
		a := e.account
		s.mu.Unlock()
		if a == nil {
			return
		}
		receipt, err := a.Voucher(v)
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.ended {
			return
		}
		if err != nil {
			s.reply(e.client.id, e, 0, refuse(wire.CodePayment, "%v", err))
			return
		}
		s.receipt(e.client.id, &receipt)
		e.raised++
		e.unpaid = time.Time{}
		s.kick()
	})
}

func sortBranches(l []wire.BranchLength) {
	slices.SortFunc(l, func(a, b wire.BranchLength) int { return cmp.Compare(a.Branch, b.Branch) })
}
