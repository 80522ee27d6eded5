package stage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

// errUnpaid says that the account wants a voucher first.
var errUnpaid = errors.New("voucher needed")

// run computes items. No lock is held: their sessions are in the pass.
func (s *Stage) run(items []item) PassInfo {
	s.segments = s.segments[:0]
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.e.order, b.e.order) }) // see grow
	for i := range items {
		it := &items[i]
		it.from = len(s.segments)
		if it.err == nil { // else its pages went to one before it
			it.err = s.prepare(items, i)
		}
		if it.err != nil {
			s.segments = s.segments[:it.from]
		}
		it.to = len(s.segments)
	}
	info := PassInfo{Blocks: items[0].e.route.Role.Blocks, Start: time.Now()}
	for i := range items {
		if it := &items[i]; it.err == nil && it.rows > 0 {
			info.Rows += it.rows
			info.Segments += it.to - it.from
			info.Sessions++
			if it.st.prompt() {
				info.Prefill += it.rows
			}
		}
	}
	if info.Rows == 0 {
		return info
	}
	info.Err = s.compute(items, info.Rows)
	if info.Err != nil && info.Sessions > 1 {
		// One of them is to blame; the others get their rows all the same.
		for i := range items {
			if it := &items[i]; it.err == nil && it.rows > 0 {
				it.err = s.compute(items[i:i+1], it.rows)
			}
		}
	} else if info.Err != nil {
		for i := range items {
			if it := &items[i]; it.err == nil && it.rows > 0 {
				it.err = info.Err
			}
		}
	}
	info.Duration = time.Since(info.Start)
	return info
}

// prepare does what has to be done before the rows of items[i] can be computed: branch
// operations, rollback, pages, credit. It appends the rows to s.segments.
func (s *Stage) prepare(items []item, i int) error {
	it := &items[i]
	e, st := it.e, it.st
	if !st.begun {
		for _, o := range st.m.Ops {
			if f := e.operate(o); f != nil {
				return f
			}
		}
		st.begun = true
	}
	group, offset := st.group, st.offset
	var units inference.Units
	for left := it.rows; left > 0; {
		row := &st.m.Rows[group]
		n := min(left, int(row.N)-offset)
		start := int(row.Start) + offset
		b := e.branches[row.Branch]
		switch {
		case b == nil:
			return refuse(wire.CodeBadRequest, "branch %d does not exist", row.Branch)
		case start > b.Len():
			return refuse(wire.CodeBadRequest, "branch %d has %d positions, the step starts at %d", row.Branch, b.Len(), start)
		case start < b.Len():
			b.Truncate(start)
		}
		if err := s.grow(items, i, b, start+n); err != nil {
			return err
		}
		s.segments = append(s.segments, model.Segment{Branch: b, Start: start, N: n})
		units[row.Line] += uint64(n * e.route.Role.Blocks.Len())
		left -= n
		if offset += n; offset == int(row.N) {
			group, offset = group+1, 0
		}
	}
	if e.account == nil {
		return nil
	}
	for line, n := range units {
		if n == 0 {
			continue
		}
		if err := e.account.Charge(inference.Line(line), n); err != nil {
			for l := range line {
				if units[l] > 0 {
					e.account.Refund(inference.Line(l), units[l])
				}
			}
			return fmt.Errorf("%w: %w", errUnpaid, err)
		}
	}
	st.charged = st.charged.Add(units)
	return nil
}

// operate forks or drops a branch.
func (e *session) operate(o wire.BranchOp) *wire.Fail {
	b := e.branches[o.From]
	switch {
	case b == nil:
		return refuse(wire.CodeBadRequest, "branch %d does not exist", o.From)
	case o.Drop:
		b.Release()
		delete(e.branches, o.From)
	case e.branches[o.To] != nil:
		return refuse(wire.CodeBadRequest, "branch %d exists", o.To)
	case int64(o.At) > int64(b.Len()):
		return refuse(wire.CodeBadRequest, "fork of branch %d at %d, it has %d positions", o.From, o.At, b.Len())
	case len(e.branches) >= int(e.route.Limits.Branches):
		return refuse(wire.CodeLimit, "more than %d branches", e.route.Limits.Branches)
	default:
		e.branches[o.To] = b.Fork(int(o.At))
	}
	return nil
}

// compute runs the forward pass of the items without an error, rows positions
// together, and writes what they send on. A panic is an error of the pass.
func (s *Stage) compute(items []item, rows int) (err error) {
	d := s.cfg.Span.Hidden()
	hidden := s.pool.Get(tensor.F32, rows, d)
	defer hidden.Release()
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Log.Error("pass panicked", "blocks", items[0].e.route.Role.Blocks.String(), "rows", rows, "panic", fmt.Sprint(p))
			err = errors.New("the forward pass failed")
		}
	}()
	r := &items[0].e.route
	at, from, to := 0, -1, 0
	for i := range items {
		it := &items[i]
		if it.err != nil || it.rows == 0 {
			continue
		}
		if err := s.load32(it, hidden.Slice(at, at+it.rows)); err != nil {
			return err
		}
		at += it.rows
		if from < 0 {
			from = it.from
		}
		to = it.to
	}
	// Items with an error have no segments, so those of the others lie together.
	pass := model.Pass{Role: r.Role.Blocks, Wire: r.Wire, Segments: s.segments[from:to]}
	if err := s.cfg.Span.Forward(s.cfg.Queue, hidden, pass); err != nil {
		return err
	}
	at = 0
	for i := range items {
		if it := &items[i]; it.err == nil && it.rows > 0 {
			s.store(it, hidden.Slice(at, at+it.rows))
			at += it.rows
		}
	}
	return nil
}

// load32 fills dst [it.rows, d] with the rows of the item that are next.
func (s *Stage) load32(it *item, dst tensor.Buffer) error {
	st, r := it.st, &it.e.route
	if st.m.Payload == wire.PayloadIDs {
		s.ids = s.ids[:0]
		for p := st.payload.Data[4*st.done:]; len(s.ids) < it.rows; p = p[4:] {
			s.ids = append(s.ids, inference.TokenID(binary.LittleEndian.Uint32(p)))
		}
		if err := s.cfg.Ends.Embed(s.cfg.Queue, dst, s.ids, r.Wire); err != nil {
			return err
		}
		return s.cfg.Queue.Wait()
	}
	width := dst.Cols * r.Wire.Bytes()
	wire.GetRows(dst.F32(), st.payload.Data[st.done*width:(st.done+it.rows)*width], r.Wire)
	return nil
}

// store writes the rows of src [it.rows, d] that leave this hop to the step's
// output, and moves its cursor.
func (s *Stage) store(it *item, src tensor.Buffer) {
	st, r := it.st, &it.e.route
	width := src.Cols * r.Wire.Bytes()
	if st.outBytes > 0 && len(st.out.Data) == 0 {
		st.out = s.pool.Get(tensor.I8, 1, int(st.outBytes))
	}
	for at := 0; at < it.rows; {
		row := &st.m.Rows[st.group]
		n := min(it.rows-at, int(row.N)-st.offset)
		lo, hi := emitted(st.m, row, r.last)
		a, b := max(st.offset, int(lo)), min(st.offset+n, int(hi))
		if a < b {
			part := src.Slice(at+a-st.offset, at+b-st.offset)
			wire.PutRows(st.out.Data[st.filled:st.filled+(b-a)*width], part.F32(), r.Wire)
			st.filled += (b - a) * width
		}
		at += n
		if st.offset += n; st.offset == int(row.N) {
			st.group, st.offset = st.group+1, 0
		}
	}
}

// finish puts the sessions of a pass back among the others.
func (s *Stage) finish(items []item, info *PassInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.rates.add(info)
	for i := range items {
		it := &items[i]
		s.settled(it.e, it, now)
		items[i] = item{}
	}
	clear(s.segments)
	if f := s.cfg.Events.PassDone; f != nil && info.Rows > 0 {
		f(*info)
	}
}

func (s *Stage) settled(e *session, it *item, now time.Time) {
	st := it.st
	e.inPass, e.worked = false, now
	if it.err == nil {
		st.done += it.rows
		s.pending -= it.rows
		e.client.pending -= it.rows
	}
	if e.ended || e.failed || e.next != nil {
		// Over while the pass ran: what it made is not sent.
		s.drop(e, st)
		e.queue = e.queue[:copy(e.queue, e.queue[1:])]
		switch {
		case e.ended:
			s.bury(e)
		case e.next != nil:
			s.move(e, e.next)
		case e.parked:
			s.releaseBranches(e)
		}
		return
	}
	var f *wire.Fail
	switch {
	case it.err == nil:
	case errors.Is(it.err, errUnpaid):
		if e.raised == it.raised { // else it is tried again at once
			e.unpaid, e.debt = now, it.err.Error()
		}
		return
	case errors.As(it.err, &f):
		s.fail(e, st.m.Seq, f)
		return
	case errors.Is(it.err, inference.ErrInvalid), errors.Is(it.err, model.ErrContext):
		s.fail(e, st.m.Seq, refuse(wire.CodeBadRequest, "%v", it.err))
		return
	default:
		s.cfg.Log.Error("pass failed", "session", e.id, "blocks", e.route.Role.Blocks.String(), "err", it.err)
		s.fail(e, st.m.Seq, refuse(wire.CodeInternal, "%v", it.err))
		return
	}
	if st.done < st.rows {
		return
	}
	st.finished = now
	st.payload.Release()
	st.payload = tensor.Buffer{}
	s.consumed(e, st.from, st.bytes)
	n := copy(e.queue, e.queue[1:])
	e.queue[n] = nil
	e.queue = e.queue[:n]
	s.post(e, st)
}
