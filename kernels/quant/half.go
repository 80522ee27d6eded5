package quant

import (
	"math"
	"math/bits"
)

// F16ToF32 converts an IEEE 754 binary16, given by its bits, exactly. A NaN
// becomes quiet and keeps its payload.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch {
	case exp-1 < 30: // normal: 1 … 30
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	case exp == 31 && frac == 0:
		return math.Float32frombits(sign | 0x7f80_0000)
	case exp == 31:
		return math.Float32frombits(sign | 0x7fc0_0000 | frac<<13)
	case frac == 0:
		return math.Float32frombits(sign)
	}
	// Subnormal, frac·2⁻²⁴: normal in float32. The leading one goes to bit 10.
	shift := uint32(bits.LeadingZeros32(frac)) - 21
	return math.Float32frombits(sign | (113-shift)<<23 | (frac<<shift&0x3ff)<<13)
}

// F32ToF16 rounds f to the nearest binary16, ties to even, and returns its
// bits. Beyond ±65519.99… it gives infinity; a NaN stays one and becomes quiet.
func F32ToF16(f float32) uint16 {
	u := math.Float32bits(f)
	sign := uint16(u >> 16 & 0x8000)
	u &= 0x7fff_ffff
	switch {
	case u > 0x7f80_0000:
		return sign | 0x7e00 | uint16(u>>13&0x3ff)
	case u >= 0x477f_f000: // 65520, half-way between the largest binary16 and 2¹⁶
		return sign | 0x7c00
	case u >= 0x3880_0000: // 2⁻¹⁴, the smallest normal
		// Half of the last place less one, plus the last bit kept: a carry runs
		// into the exponent, as it should.
		u += 0x0fff + u>>13&1
		return sign | uint16(u>>13-112<<10)
	case u <= 0x3300_0000: // 2⁻²⁵, half of the smallest subnormal: ties to zero
		return sign
	}
	// Subnormal: count units of 2⁻²⁴.
	shift := 126 - u>>23 // 14 … 24
	frac := u&0x7f_ffff | 0x80_0000
	frac += 1<<(shift-1) - 1 + frac>>shift&1
	return sign | uint16(frac>>shift)
}

// BF16ToF32 converts a bfloat16, given by its bits, exactly.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds f to the nearest bfloat16, ties to even, and returns its
// bits. A NaN stays one and becomes quiet.
func F32ToBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fff_ffff > 0x7f80_0000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
