package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/farlabs/inference"
)

// ErrMalformed is wrapped by every error about bytes that are not a frame.
var ErrMalformed = errors.New("malformed")

func putUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func putString(b []byte, s string) []byte {
	return append(putUvarint(b, uint64(len(s))), s...)
}

func putStrings(b []byte, l []string) []byte {
	b = putUvarint(b, uint64(len(l)))
	for _, s := range l {
		b = putString(b, s)
	}
	return b
}

func putFloat(b []byte, f float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
}

func putWei(b []byte, w inference.Wei) []byte {
	var x [16]byte
	w.Put(x[:])
	return append(b, x[:]...)
}

// decoder reads fields in order. The first fault sticks: later reads return
// zero values, so that a message parses in one straight line and asks err once.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format+": %w", append(args, ErrMalformed)...)
		d.b = nil
	}
}

func (d *decoder) raw(n int) []byte {
	if len(d.b) < n {
		d.fail("cut short")
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed(dst []byte) { copy(dst, d.raw(len(dst))) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad integer")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// upTo reads an integer that must not exceed max.
func (d *decoder) upTo(max uint64, what string) uint64 {
	v := d.uvarint()
	if v > max {
		d.fail("%s %d above %d", what, v, max)
		return 0
	}
	return v
}

func (d *decoder) u32() uint32 { return uint32(d.upTo(math.MaxUint32, "integer")) }

func (d *decoder) byte() byte {
	if v := d.raw(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) bool() bool { return d.byte() != 0 }

func (d *decoder) string() string {
	return string(d.raw(int(d.upTo(MaxString, "string length"))))
}

// count reads the length of a list of which each element takes at least size
// bytes, so that a short header cannot ask for a long list.
func (d *decoder) count(max uint64, size int, what string) int {
	n := d.upTo(max, what)
	if n*uint64(size) > uint64(len(d.b)) {
		d.fail("%s: %d do not fit the header", what, n)
		return 0
	}
	return int(n)
}

func (d *decoder) strings(max uint64, what string) []string {
	n := d.count(max, 1, what)
	if n == 0 {
		return nil
	}
	l := make([]string, n)
	for i := range l {
		l[i] = d.string()
	}
	return l
}

func (d *decoder) float() float32 {
	if v := d.raw(4); v != nil {
		return math.Float32frombits(binary.LittleEndian.Uint32(v))
	}
	return 0
}

func (d *decoder) wei() inference.Wei {
	if v := d.raw(16); v != nil {
		return inference.WeiFromBytes(v)
	}
	return inference.Wei{}
}

func (d *decoder) blocks() inference.BlockRange {
	start := d.upTo(inference.MaxBlocks, "block")
	end := d.upTo(inference.MaxBlocks, "block")
	r := inference.BlockRange{Start: int(start), End: int(end)}
	if d.err == nil && r.End <= r.Start {
		d.fail("blocks %s", r)
	}
	return r
}

func putBlocks(b []byte, r inference.BlockRange) []byte {
	return putUvarint(putUvarint(b, uint64(r.Start)), uint64(r.End))
}

func putUnits(b []byte, u inference.Units) []byte {
	for _, v := range u {
		b = putUvarint(b, v)
	}
	return b
}

func (d *decoder) units() (u inference.Units) {
	for i := range u {
		u[i] = d.uvarint()
	}
	return u
}
