package wire

import (
	"fmt"

	"github.com/farlabs/inference"
)

// PayloadKind says what a step's payload holds.
type PayloadKind uint8

// The payload kinds. Logits, TopK and Sampled are reserved for stages that
// hold the head.
const (
	PayloadNone    PayloadKind = 0
	PayloadIDs     PayloadKind = 1 // int32 per row
	PayloadHidden  PayloadKind = 2 // [rows, d] in the session's wire dtype
	PayloadLogits  PayloadKind = 3
	PayloadTopK    PayloadKind = 4
	PayloadSampled PayloadKind = 5
)

// Want says which rows of a group the last hop returns to the client.
type Want uint8

// The choices of Want.
const (
	WantNone Want = 0
	WantLast Want = 1
	WantAll  Want = 2
)

// Row is a group of consecutive positions of one branch.
type Row struct {
	Branch uint32
	Start  uint32 // first position
	N      uint32 // positions
	// EmitFrom: at the hop Step.EmitAt, positions below it fill KV and are not
	// passed on.
	EmitFrom uint32
	Extent   uint32 // positions of the branch known to the client; for rotations that depend on length
	Want     Want
	Line     inference.Line // on which the work is billed
}

// BranchOp forks or drops a branch. Ops of a step apply before its rows.
type BranchOp struct {
	Drop bool   // drop From; else fork
	From uint32 // branch
	At   uint32 // fork: positions that the new branch shares
	To   uint32 // fork: the new branch, which must not exist
}

// HopTime is what a hop adds to a step that it passes on, microseconds.
type HopTime struct {
	Arrived uint64 // Unix time
	Wait    uint32 // from arrival to the start of the forward pass
	Compute uint32 // the forward pass
}

// Step is work for a stage: branch operations, then rows. It travels from hop
// to hop with the rows' hidden states; its fields but Hop, Cap, Rows and Times
// stay as the client wrote them. Seq counts the steps of an epoch from 1
// without gaps; a stage takes them in that order.
type Step struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Seq     uint64
	Cap     Capability
	Hop     uint8 // index of the receiver
	EmitAt  uint8 // hop at which Row.EmitFrom holds
	Fill    bool  // restores KV up to EmitAt: that hop does not pass Ops on either
	Payload PayloadKind
	Ops     []BranchOp
	Rows    []Row
	Times   []HopTime // of the hops passed
}

// Kind implements Message.
func (*Step) Kind() Kind { return KindStep }

// Of implements Message.
func (m *Step) Of() inference.SessionID { return m.Session }

// Positions returns the number of positions of all row groups.
func (m *Step) Positions() int { return positions(m.Rows) }

func positions(rows []Row) (n int) {
	for _, r := range rows {
		n += int(r.N)
	}
	return n
}

func (m *Step) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = putUvarint(b, m.Seq)
	b = append(b, m.Cap[:]...)
	b = append(b, m.Hop, m.EmitAt)
	b = putBool(b, m.Fill)
	b = append(b, byte(m.Payload))
	b = putUvarint(b, uint64(len(m.Ops)))
	for _, o := range m.Ops {
		b = putBool(b, o.Drop)
		b = putUvarint(b, uint64(o.From))
		b = putUvarint(b, uint64(o.At))
		b = putUvarint(b, uint64(o.To))
	}
	b = appendRows(b, m.Rows)
	return appendTimes(b, m.Times)
}

func (m *Step) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Seq = d.uvarint()
	d.fixed(m.Cap[:])
	m.Hop, m.EmitAt = d.byte(), d.byte()
	m.Fill = d.bool()
	m.Payload = PayloadKind(d.byte())
	if n := d.count(MaxBranches, 4, "branch operations"); n > 0 {
		m.Ops = make([]BranchOp, n)
		for i := range m.Ops {
			m.Ops[i] = BranchOp{d.bool(), d.u32(), d.u32(), d.u32()}
		}
	}
	m.Rows = parseRows(d)
	m.Times = parseTimes(d)
}

func appendRows(b []byte, rows []Row) []byte {
	b = putUvarint(b, uint64(len(rows)))
	for _, r := range rows {
		b = putUvarint(b, uint64(r.Branch))
		b = putUvarint(b, uint64(r.Start))
		b = putUvarint(b, uint64(r.N))
		b = putUvarint(b, uint64(r.EmitFrom))
		b = putUvarint(b, uint64(r.Extent))
		b = append(b, byte(r.Want), byte(r.Line))
	}
	return b
}

func parseRows(d *decoder) []Row {
	n := d.count(MaxRows, 7, "rows")
	if n == 0 {
		return nil
	}
	rows := make([]Row, n)
	total := uint64(0)
	for i := range rows {
		r := Row{Branch: d.u32(), Start: d.u32(), N: d.u32(), EmitFrom: d.u32(), Extent: d.u32()}
		r.Want, r.Line = Want(d.byte()), inference.Line(d.byte())
		total += uint64(r.N)
		switch {
		case d.err != nil:
			return nil
		case r.N == 0:
			d.fail("row group %d is empty", i)
		case total > MaxStepRows:
			d.fail("more than %d positions", MaxStepRows)
		case uint64(r.Start)+uint64(r.N) > 1<<31:
			d.fail("position %d+%d", r.Start, r.N)
		case r.Want > WantAll || r.Line >= inference.NumLines:
			d.fail("row group %d: want %d, line %d", i, r.Want, r.Line)
		}
		rows[i] = r
	}
	return rows
}

func appendTimes(b []byte, times []HopTime) []byte {
	b = putUvarint(b, uint64(len(times)))
	for _, t := range times {
		b = putUvarint(b, t.Arrived)
		b = putUvarint(b, uint64(t.Wait))
		b = putUvarint(b, uint64(t.Compute))
	}
	return b
}

func parseTimes(d *decoder) []HopTime {
	n := d.count(MaxHops, 3, "hop times")
	if n == 0 {
		return nil
	}
	times := make([]HopTime, n)
	for i := range times {
		times[i] = HopTime{d.uvarint(), d.u32(), d.u32()}
	}
	return times
}

// CheckPayload reports whether a payload of n bytes fits the step: width is
// the model's hidden size, dtype the session's.
func (m *Step) CheckPayload(n, width int, dtype inference.WireDType) error {
	want := 0
	switch m.Payload {
	case PayloadNone:
		if len(m.Rows) > 0 {
			return fmt.Errorf("step %d: rows without payload: %w", m.Seq, ErrMalformed)
		}
	case PayloadIDs:
		want = 4 * m.Positions()
	case PayloadHidden:
		want = m.Positions() * width * dtype.Bytes()
	default:
		return fmt.Errorf("step %d: payload kind %d: %w", m.Seq, m.Payload, ErrMalformed)
	}
	if n != want {
		return fmt.Errorf("step %d: payload of %d bytes, want %d: %w", m.Seq, n, want, ErrMalformed)
	}
	return nil
}

// Output is what the last hop returns to the client for a step: the wanted
// rows, none when the step asked for none.
type Output struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Seq     uint64
	Payload PayloadKind
	Rows    []Row // Branch, Start, N of the rows that follow
	Times   []HopTime
}

// Kind implements Message.
func (*Output) Kind() Kind { return KindOutput }

// Of implements Message.
func (m *Output) Of() inference.SessionID { return m.Session }

// Positions returns the number of positions of all row groups.
func (m *Output) Positions() int { return positions(m.Rows) }

func (m *Output) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = putUvarint(b, m.Seq)
	b = append(b, byte(m.Payload))
	b = appendRows(b, m.Rows)
	return appendTimes(b, m.Times)
}

func (m *Output) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Seq = d.uvarint()
	m.Payload = PayloadKind(d.byte())
	m.Rows = parseRows(d)
	m.Times = parseTimes(d)
}
