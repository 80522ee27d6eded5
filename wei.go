package inference

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
)

// Wei is an amount of the settlement token in its smallest unit (10⁻¹⁸ FAR),
// an unsigned 128-bit integer: the width that vouchers have on chain.
type Wei struct{ Hi, Lo uint64 }

// WeiOf returns n wei.
func WeiOf(n uint64) Wei { return Wei{Lo: n} }

// Add returns a+b; ok is false when the sum does not fit 128 bits.
func (a Wei) Add(b Wei) (sum Wei, ok bool) {
	lo, c := bits.Add64(a.Lo, b.Lo, 0)
	hi, c := bits.Add64(a.Hi, b.Hi, c)
	return Wei{hi, lo}, c == 0
}

// Sub returns a−b; ok is false when b is greater than a.
func (a Wei) Sub(b Wei) (diff Wei, ok bool) {
	lo, c := bits.Sub64(a.Lo, b.Lo, 0)
	hi, c := bits.Sub64(a.Hi, b.Hi, c)
	return Wei{hi, lo}, c == 0
}

// Mul returns a·n; ok is false when the product does not fit 128 bits.
func (a Wei) Mul(n uint64) (product Wei, ok bool) {
	over, hi := bits.Mul64(a.Hi, n)
	carry, lo := bits.Mul64(a.Lo, n)
	hi, c := bits.Add64(hi, carry, 0)
	return Wei{hi, lo}, over == 0 && c == 0
}

// Cmp returns −1, 0 or +1 as a is less than, equal to or greater than b.
func (a Wei) Cmp(b Wei) int {
	switch {
	case a == b:
		return 0
	case a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo:
		return -1
	}
	return 1
}

// IsZero reports whether a is zero.
func (a Wei) IsZero() bool { return a == Wei{} }

// Big returns a as a big.Int.
func (a Wei) Big() *big.Int {
	var b [16]byte
	a.Put(b[:])
	return new(big.Int).SetBytes(b[:])
}

// Put writes a as 16 big-endian bytes.
func (a Wei) Put(b []byte) {
	binary.BigEndian.PutUint64(b, a.Hi)
	binary.BigEndian.PutUint64(b[8:16], a.Lo)
}

// WeiFromBytes reads what Put wrote; b has 16 bytes.
func WeiFromBytes(b []byte) Wei {
	return Wei{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:16])}
}

// WeiFromBig converts n; ok is false when it is negative or above 128 bits.
func WeiFromBig(n *big.Int) (w Wei, ok bool) {
	if n.Sign() < 0 || n.BitLen() > 128 {
		return Wei{}, false
	}
	var b [16]byte
	return WeiFromBytes(n.FillBytes(b[:])), true
}

// String returns the decimal digits.
func (a Wei) String() string { return a.Big().String() }

// MarshalText implements encoding.TextMarshaler: decimal, so that JSON readers
// never round it.
func (a Wei) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Wei) UnmarshalText(b []byte) error {
	n, ok := new(big.Int).SetString(string(b), 10)
	if !ok {
		return fmt.Errorf("wei %q: want decimal digits", b)
	}
	if *a, ok = WeiFromBig(n); !ok {
		return fmt.Errorf("wei %q: outside 0 … 2^128−1", b)
	}
	return nil
}
