package payment

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/farlabs/inference"
)

// The kinds of records in the journals of Meter and Purse; the first byte of
// each. Records hold whole states, so that the last one of a thing is the truth
// and applying one twice changes nothing, except recordRow and recordPromised, which
// add.
const (
	recordSeries   = 'V' // meter: (payer, series) with its highest voucher
	recordSession  = 'S' // meter: a session
	recordTab      = 'T' // purse: a session at a node
	recordRow      = 'R' // both: usage of sessions that are forgotten
	recordForget   = 'F' // both: the session becomes usage
	recordDrop     = 'X' // meter: the series is forgotten
	recordSigned   = 'W' // purse: the highest voucher to a wallet
	recordPromised = 'P' // purse: promises of an absorbed series, which add
	recordAbsorbed = 'M' // purse: the named series' file is contained in this one
)

var errRecord = errors.New("malformed record")

// encoder appends fields, integers big-endian.
type encoder []byte

func (e *encoder) u8(n uint8)   { *e = append(*e, n) }
func (e *encoder) u16(n uint16) { *e = binary.BigEndian.AppendUint16(*e, n) }
func (e *encoder) u32(n uint32) { *e = binary.BigEndian.AppendUint32(*e, n) }
func (e *encoder) u64(n uint64) { *e = binary.BigEndian.AppendUint64(*e, n) }
func (e *encoder) raw(b []byte) { *e = append(*e, b...) }

// text takes at most 255 bytes; callers have checked.
func (e *encoder) text(s string) {
	e.u8(uint8(len(s)))
	*e = append(*e, s[:uint8(len(s))]...)
}

func (e *encoder) wei(w inference.Wei) {
	e.u64(w.Hi)
	e.u64(w.Lo)
}

func (e *encoder) units(u inference.Units) {
	for _, n := range u {
		e.u64(n)
	}
}

func (e *encoder) terms(t *Terms) {
	e.raw(t.Session[:])
	e.u32(uint32(t.Epoch))
	e.text(string(t.Model))
	e.raw(t.Digest[:])
	e.u16(uint16(t.Blocks.Start))
	e.u16(uint16(t.Blocks.End))
	e.text(string(t.Class))
	for _, w := range t.Quote {
		e.wei(w)
	}
}

// decoder reads what encoder wrote; after an error everything is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || len(d.b) < n {
		d.err = errRecord
		return make([]byte, n)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() uint8          { return d.take(1)[0] }
func (d *decoder) u16() uint16        { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) u32() uint32        { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64        { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) text() string       { return string(d.take(int(d.u8()))) }
func (d *decoder) fixed(dst []byte)   { copy(dst, d.take(len(dst))) }
func (d *decoder) wei() inference.Wei { return inference.WeiFromBytes(d.take(16)) }

func (d *decoder) units() (u inference.Units) {
	for i := range u {
		u[i] = d.u64()
	}
	return u
}

func (d *decoder) terms() (t Terms) {
	d.fixed(t.Session[:])
	t.Epoch = inference.Epoch(d.u32())
	t.Model = inference.ModelID(d.text())
	d.fixed(t.Digest[:])
	t.Blocks.Start, t.Blocks.End = int(d.u16()), int(d.u16())
	t.Class = inference.NumericsClass(d.text())
	for i := range t.Quote {
		t.Quote[i] = d.wei()
	}
	if d.err == nil {
		if err := t.validate(); err != nil {
			d.err = fmt.Errorf("%w: %v", errRecord, err)
		}
	}
	return t
}

// end reports an error, also for bytes that are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%w: %d bytes left over", errRecord, len(d.b))
	}
	return d.err
}

// Terms are what both sides of a session at a node know of it.
type Terms struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Model   inference.ModelID // label, for usage reports; may be empty
	Digest  inference.Digest
	Blocks  inference.BlockRange // the role
	Class   inference.NumericsClass
	Quote   inference.Quote // agreed; holds for the whole session
}

func (t *Terms) validate() error {
	if len(t.Model) > 128 || len(t.Class) > 64 {
		return fmt.Errorf("model of %d bytes, class of %d: %w", len(t.Model), len(t.Class), inference.ErrInvalid)
	}
	return t.Blocks.Validate()
}

// tranche returns the token·blocks of a tranche.
func (t *Terms) tranche() uint64 { return TrancheTokens * uint64(t.Blocks.Len()) }
