package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

// planned is one step before it is sent.
type planned struct {
	ops    []wire.BranchOp
	rows   []wire.Row
	inputs []input
	fill   bool
	emitAt uint8
	out    func(rows []wire.Row, payload []byte)
}

// maxUnderWay bounds the steps under way; the window bounds their bytes.
const maxUnderWay = 64

// execute sends the steps of ops and groups over the current route and waits
// for what they want.
func (s *Session) execute(ctx context.Context, next map[uint32]*branch, ops []wire.BranchOp, groups []Group) ([]Hidden, error) {
	d := s.p.parts.Ends.Hidden()
	got := make([]Hidden, 0, len(groups))
	index := map[uint32]int{}
	var rows []wire.Row
	var inputs []input
	for i := range groups {
		g := &groups[i]
		in := next[g.Branch].rows[g.Start:]
		rows = append(rows, wire.Row{
			Branch: g.Branch, Start: uint32(g.Start), N: uint32(len(in)),
			Extent: uint32(g.Start + len(in)), Want: g.Want, Line: g.Line,
		})
		inputs = append(inputs, in...)
		switch g.Want {
		case wire.WantAll:
			got = append(got, Hidden{Branch: g.Branch, Start: g.Start, Data: make([]float32, len(in)*d)})
		case wire.WantLast:
			got = append(got, Hidden{Branch: g.Branch, Start: g.Start + len(in) - 1, Data: make([]float32, d)})
		default:
			continue
		}
		index[g.Branch] = len(got) - 1
	}
	out := func(rows []wire.Row, payload []byte) {
		for _, r := range rows {
			h := &got[index[r.Branch]]
			at, n := (int(r.Start)-h.Start)*d, int(r.N)*d
			wire.GetRows(h.Data[at:at+n], payload[:n*s.opts.Wire.Bytes()], s.opts.Wire)
			payload = payload[n*s.opts.Wire.Bytes():]
		}
	}
	s.room.got = 0
	steps := s.cut(ops, rows, inputs)
	for _, p := range steps {
		p.out = out
	}
	return got, s.run(ctx, steps)
}

// cut makes steps of at most the session's chunk out of rows. What is wanted
// of a group's last position is wanted of its last piece only.
func (s *Session) cut(ops []wire.BranchOp, rows []wire.Row, inputs []input) []*planned {
	var steps []*planned
	cur := &planned{ops: ops}
	room := s.opts.Chunk
	flush := func() {
		steps = append(steps, cur)
		cur, room = &planned{}, s.opts.Chunk
	}
	for _, r := range rows {
		for r.N > 0 {
			if room == 0 || len(cur.rows) == wire.MaxRows {
				flush()
			}
			piece := r
			piece.N = min(r.N, uint32(room))
			if piece.N < r.N && r.Want == wire.WantLast {
				piece.Want = wire.WantNone
			}
			piece.Extent = piece.Start + piece.N
			cur.rows = append(cur.rows, piece)
			cur.inputs = append(cur.inputs, inputs[:piece.N]...)
			inputs = inputs[piece.N:]
			room -= int(piece.N)
			r.Start += piece.N
			r.N -= piece.N
		}
	}
	if len(cur.rows) > 0 || len(cur.ops) > 0 {
		flush()
	}
	return steps
}

// run sends steps as the window allows and waits until every output is there.
func (s *Session) run(ctx context.Context, steps []*planned) error {
	if err := s.order(ctx, steps); err != nil {
		return err
	}
	for _, p := range steps {
		frame, err := s.encode(p)
		if err != nil {
			return err
		}
		n := int64(len(frame.Payload.Data))
		if err := s.pump(ctx, func() bool { return s.window >= n && len(s.waiting) < maxUnderWay }); err != nil {
			frame.Release()
			return err
		}
		s.window -= n
		s.seq++
		frame.Message.(*wire.Step).Seq = s.seq
		until := len(s.hops) - 1
		if p.fill {
			until = int(p.emitAt)
		}
		s.waiting[s.seq] = &pending{seq: s.seq, rows: p.rows, units: uint64(len(p.inputs)), until: until, fill: p.fill, begun: time.Now(), out: p.out}
		for _, h := range s.hops[:until+1] {
			h.account.sent(p.rows, h.Blocks.Len())
		}
		if err := s.p.parts.Links.Send(s.hops[0].Peer(), frame); err != nil {
			return s.hopError(0, FailDead, err)
		}
	}
	return s.pump(ctx, func() bool { return len(s.waiting) == 0 })
}

// encode makes the frame of a step; Seq is filled in when it is sent.
func (s *Session) encode(p *planned) (*wire.Frame, error) {
	ends, d, n := s.p.parts.Ends, s.p.parts.Ends.Hidden(), len(p.inputs)
	m := &wire.Step{
		Session: s.id, Epoch: s.epoch, Cap: s.hops[0].in, EmitAt: p.emitAt, Fill: p.fill,
		Ops: p.ops, Rows: p.rows, Payload: wire.PayloadHidden,
	}
	if n == 0 {
		m.Payload = wire.PayloadNone
		return &wire.Frame{Message: m}, nil
	}
	pool := s.p.parts.Exchange.pool
	hidden := pool.Get(tensor.F32, n, d)
	defer hidden.Release()
	for i := 0; i < n; {
		j := i
		var ids []inference.TokenID
		for j < n && p.inputs[j].hidden == nil {
			ids = append(ids, p.inputs[j].id)
			j++
		}
		if j > i {
			if err := ends.Embed(s.p.parts.Queue, hidden.Slice(i, j), ids, s.opts.Wire); err != nil {
				return nil, fmt.Errorf("embed: %w", err)
			}
			i = j
			continue
		}
		copy(hidden.Row(i), p.inputs[i].hidden)
		i++
	}
	if err := s.p.parts.Queue.Wait(); err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	payload := pool.Get(tensor.I8, 1, n*d*s.opts.Wire.Bytes())
	wire.PutRows(payload.Data, hidden.F32(), s.opts.Wire)
	return &wire.Frame{Message: m, Payload: payload}, nil
}

// output takes an Output from the last hop.
func (s *Session) output(m *wire.Output, f *wire.Frame) error {
	last := len(s.hops) - 1
	if m.Epoch != s.epoch {
		return nil
	}
	p := s.waiting[m.Seq]
	if p == nil {
		return nil // a duplicate
	}
	if n := len(f.Payload.Data); n > 0 {
		credit := &wire.Credit{Session: s.id, Epoch: s.epoch, Hop: uint8(len(s.hops)), Bytes: uint64(n)}
		_ = s.p.parts.Links.Send(s.hops[last].Peer(), &wire.Frame{Message: credit})
	}
	if err := p.fits(m, len(f.Payload.Data), s.p.parts.Ends.Hidden()*s.opts.Wire.Bytes()); err != nil {
		return s.hopError(last, FailFaulty, err)
	}
	if p.out != nil {
		p.out(m.Rows, f.Payload.Data)
	}
	delete(s.waiting, m.Seq)
	s.gotOn(p)
	s.observe(m.Times, p)
	return nil
}

// fits demands that an output has exactly the rows that the step wanted, width
// bytes each.
func (p *pending) fits(m *wire.Output, payload, width int) error {
	rows, n := m.Rows, 0
	for _, w := range p.rows {
		switch w.Want {
		case wire.WantNone:
			continue
		case wire.WantLast:
			w.Start, w.N = w.Start+w.N-1, 1
		}
		if len(rows) == 0 || rows[0].Branch != w.Branch || rows[0].Start != w.Start || rows[0].N != w.N {
			return fmt.Errorf("output %d lacks rows of branch %d: %w", m.Seq, w.Branch, wire.ErrMalformed)
		}
		rows, n = rows[1:], n+int(w.N)
	}
	if len(rows) > 0 || payload != n*width {
		return fmt.Errorf("output %d has %d bytes, %d rows were wanted: %w", m.Seq, payload, n, wire.ErrMalformed)
	}
	return nil
}

// observe tells ratings and accounts what each hop did for a step.
func (s *Session) observe(times []wire.HopTime, p *pending) {
	if len(p.rows) == 0 {
		return
	}
	if len(times) == len(s.hops) && p.until == len(s.hops)-1 {
		s.timings = slices.Clone(times)
	}
	spent := credible(times, time.Since(p.begun))
	for i, h := range s.hops[:p.until+1] {
		if p.seq > h.counted {
			h.account.delivered(p.rows, h.Blocks.Len())
		}
		if i < len(spent) {
			s.p.parts.Scores.Served(h.Peer(), p.rows[0].Line, p.units*uint64(h.Blocks.Len()), spent[i])
		}
	}
}

// credible returns how long each hop had a step, as the hops say, within what
// the step took as the client saw it: a hop can write what it likes, for itself
// and for those before it. A time longer than the step is not believed, 0 in its
// place, which no rate is made of; if all together are longer, each is cut by
// the same share.
func credible(times []wire.HopTime, took time.Duration) []time.Duration {
	spent, sum := make([]time.Duration, len(times)), time.Duration(0)
	for i, t := range times {
		d := (time.Duration(t.Wait) + time.Duration(t.Compute)) * time.Microsecond
		if d <= took {
			spent[i] = d
			sum += d
		}
	}
	if sum > took {
		for i := range spent {
			spent[i] = time.Duration(float64(spent[i]) * (float64(took) / float64(sum)))
		}
	}
	return spent
}
