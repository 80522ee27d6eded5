package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// kind is GGUF's number of a metadata value's type.
type kind uint32

const (
	kindU8 kind = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindString
	kindArray
	kindU64
	kindI64
	kindF64
	numKinds
)

// size returns the bytes of one value, 0 for strings, arrays and unknown kinds.
func (k kind) size() int {
	switch k {
	case kindU8, kindI8, kindBool:
		return 1
	case kindU16, kindI16:
		return 2
	case kindU32, kindI32, kindF32:
		return 4
	case kindU64, kindI64, kindF64:
		return 8
	}
	return 0
}

func (k kind) integral() bool {
	return k.size() > 0 && k != kindF32 && k != kindF64 && k != kindBool
}

// value is one metadata value. Fixed-size values, alone or in an array, stay in
// their file form and are decoded when asked for.
type value struct {
	kind    kind // of the elements when array
	array   bool
	raw     []byte   // fixed-size kinds
	strings []string // kindString; one when not array
	sum     [sha256.Size]byte
}

// integer decodes element i as a signed number; ok is false for an unsigned
// one beyond its range and for other kinds.
func (v *value) integer(i int) (n int64, ok bool) {
	switch b := v.raw; v.kind {
	case kindU8:
		return int64(b[i]), true
	case kindI8:
		return int64(int8(b[i])), true
	case kindU16:
		return int64(binary.LittleEndian.Uint16(b[2*i:])), true
	case kindI16:
		return int64(int16(binary.LittleEndian.Uint16(b[2*i:]))), true
	case kindU32:
		return int64(binary.LittleEndian.Uint32(b[4*i:])), true
	case kindI32:
		return int64(int32(binary.LittleEndian.Uint32(b[4*i:]))), true
	case kindU64, kindI64:
		n = int64(binary.LittleEndian.Uint64(b[8*i:]))
		return n, v.kind == kindI64 || n >= 0
	}
	return 0, false
}

func (v *value) float(i int) (f float64, ok bool) {
	switch v.kind {
	case kindF32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.raw[4*i:]))), true
	case kindF64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.raw[8*i:])), true
	}
	return 0, false
}

// Keys returns the metadata keys in ascending order.
func (c *Checkpoint) Keys() []string { return slices.Sorted(maps.Keys(c.meta)) }

// String returns the string under key; ok is false when the key is absent or
// holds something else, as for all getters.
func (c *Checkpoint) String(key string) (s string, ok bool) {
	v := c.meta[key]
	if v == nil || v.array || v.kind != kindString {
		return "", false
	}
	return v.strings[0], true
}

// Uint returns the integer under key, of any width, signed or not; ok is false
// when it is negative.
func (c *Checkpoint) Uint(key string) (n uint64, ok bool) {
	v := c.meta[key]
	if v == nil || v.array {
		return 0, false
	}
	if v.kind == kindU64 {
		return binary.LittleEndian.Uint64(v.raw), true
	}
	i, ok := v.integer(0)
	if !ok || i < 0 {
		return 0, false
	}
	return uint64(i), true
}

// Float returns the floating-point number under key.
func (c *Checkpoint) Float(key string) (f float64, ok bool) {
	v := c.meta[key]
	if v == nil || v.array {
		return 0, false
	}
	return v.float(0)
}

// Bool returns the truth value under key.
func (c *Checkpoint) Bool(key string) (b, ok bool) {
	v := c.meta[key]
	if v == nil || v.array || v.kind != kindBool {
		return false, false
	}
	return v.raw[0] != 0, true
}

// Strings returns the array of strings under key, borrowed: do not change it.
func (c *Checkpoint) Strings(key string) (s []string, ok bool) {
	v := c.meta[key]
	if v == nil || !v.array || v.kind != kindString {
		return nil, false
	}
	return v.strings, true
}

// Ints returns a copy of the array of integers under key, of any width; ok is
// false when one of them exceeds int64.
func (c *Checkpoint) Ints(key string) (n []int64, ok bool) {
	v := c.meta[key]
	if v == nil || !v.array || !v.kind.integral() {
		return nil, false
	}
	return decode(v, v.integer)
}

// Floats returns a copy of the array of floating-point numbers under key.
func (c *Checkpoint) Floats(key string) (f []float64, ok bool) {
	v := c.meta[key]
	if v == nil || !v.array || v.kind != kindF32 && v.kind != kindF64 {
		return nil, false
	}
	return decode(v, v.float)
}

// Bools returns a copy of the array of truth values under key.
func (c *Checkpoint) Bools(key string) (b []bool, ok bool) {
	v := c.meta[key]
	if v == nil || !v.array || v.kind != kindBool {
		return nil, false
	}
	return decode(v, func(i int) (bool, bool) { return v.raw[i] != 0, true })
}

// decode collects every element of an array of fixed-size values.
func decode[T any](v *value, at func(int) (T, bool)) ([]T, bool) {
	out := make([]T, len(v.raw)/v.kind.size())
	for i := range out {
		var ok bool
		if out[i], ok = at(i); !ok {
			return nil, false
		}
	}
	return out, true
}
