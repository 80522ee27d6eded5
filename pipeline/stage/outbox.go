package stage

import (
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// credit takes window that the receiver of steps has returned. s.mu is held.
func (s *Stage) credit(e *session, from inference.PeerID, m *wire.Credit) {
	if m.Epoch != e.route.Epoch || m.Hop != e.route.Hop+1 || from == e.route.Prev && from != e.client.id {
		return
	}
	e.window = min(e.window+int64(min(m.Bytes, uint64(e.route.window))), e.route.window)
	s.flushOutbox(e)
	s.kick() // room for another step
}

// flushOutbox sends what the receiver's window allows. s.mu is held.
func (s *Stage) flushOutbox(e *session) {
	to := e.client.id
	if e.direct {
		to = e.route.Next
	}
	n := 0
	for n < len(e.outbox) && e.open && !e.failed && !e.ended {
		o := &e.outbox[n]
		size := int64(len(o.f.Payload.Data))
		if size > e.window {
			break
		}
		e.window -= size
		e.outBytes -= size
		s.outBytes -= size
		n++
		if err := s.cfg.Links.Send(to, o.f); err != nil {
			s.refund(e, &o.units)
			e.outbox = slices.Delete(e.outbox, 0, n)
			code := wire.CodeNextHop
			if !e.direct {
				code = wire.CodeCutShort
			}
			s.fail(e, o.seq, &wire.Fail{Code: code, Hop: e.route.Hop + 1, Text: "send: " + err.Error()})
			return
		}
		e.sent = o.seq
		e.positions += uint64(o.info.Rows)
		e.units += uint64(o.info.Rows * e.route.Role.Blocks.Len())
		if e.account != nil {
			for line, units := range o.units {
				if units > 0 {
					e.account.Sent(inference.Line(line), units)
				}
			}
		}
		if f := s.cfg.Events.StepDone; f != nil {
			f(o.info)
		}
	}
	if n > 0 {
		e.outbox = slices.Delete(e.outbox, 0, n)
		s.list(e)
	}
}

// post puts a finished step on its way. s.mu is held.
func (s *Stage) post(e *session, st *step) {
	m, r := st.m, &e.route
	kind := wire.PayloadNone
	if len(st.out.Data) > 0 {
		kind = wire.PayloadHidden
	}
	rows := m.Rows
	if !slices.ContainsFunc(rows, func(row wire.Row) bool { lo, hi := emitted(m, &row, r.last); return lo != 0 || hi != row.N }) {
		// as they are
	} else {
		rows = nil
		for i := range m.Rows {
			row := m.Rows[i]
			lo, hi := emitted(m, &row, r.last)
			if lo < hi {
				row.Start, row.N = row.Start+lo, hi-lo
				rows = append(rows, row)
			}
		}
	}
	wait, compute := st.started.Sub(st.arrived), st.finished.Sub(st.started)
	times := append(m.Times, wire.HopTime{
		Arrived: uint64(st.arrived.UnixMicro()), Wait: micros(wait), Compute: micros(compute),
	})
	if len(times) > wire.MaxHops {
		times = times[:wire.MaxHops]
	}
	f := &wire.Frame{Payload: st.out}
	if r.last {
		f.Message = &wire.Output{Session: e.id, Epoch: r.Epoch, Seq: m.Seq, Payload: kind, Rows: rows, Times: times}
	} else {
		if m.Fill && m.Hop == m.EmitAt {
			m.Ops = nil
		}
		m.Hop, m.Cap, m.Payload, m.Rows, m.Times = r.Hop+1, r.Out, kind, rows, times
		f.Message = m
	}
	e.outbox = append(e.outbox, outgoing{
		f: f, seq: m.Seq, units: st.charged, waiting: st.finished,
		info: StepInfo{Session: e.id, Epoch: r.Epoch, Seq: m.Seq, Rows: st.rows, Wait: wait, Compute: compute},
	})
	s.flushOutbox(e)
}

func micros(d time.Duration) uint32 { return uint32(min(max(d.Microseconds(), 0), 1<<32-1)) }
