package canon

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// bigFMA rounds the exact a·b + c to float32, ties to even.
func bigFMA(a, b, c float32) float32 {
	x := new(big.Float).SetPrec(2000).SetFloat64(float64(a))
	x.Mul(x, big.NewFloat(float64(b)))
	x.Add(x, big.NewFloat(float64(c)))
	f, _ := x.Float32()
	return f
}

func checkFMA(t *testing.T, a, b, c float32) {
	t.Helper()
	got := FMA(a, b, c)
	if want := bigFMA(a, b, c); want != 0 && math.Float32bits(got) != math.Float32bits(want) || want == 0 && got != 0 {
		t.Fatalf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
	}
}

func TestFMAIsRoundedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	finite := func(exp int) float32 {
		return float32(math.Ldexp(1+float64(r.Uint32N(1<<23))/(1<<23), exp)) * float32(1-2*int(r.Uint32N(2)))
	}
	for range 200_000 {
		a, b := finite(r.IntN(20)-10), finite(r.IntN(20)-10)
		checkFMA(t, a, b, finite(r.IntN(100)-50))
		// A product near half of c's last place, above it, below it or on it.
		c := finite(r.IntN(10))
		h := float32(math.Ldexp(1, math.Ilogb(float64(c))-24))
		checkFMA(t, h, 1+float32(int(r.Uint32N(3))-1)*0x1p-23, c)
		checkFMA(t, h*(1+0x1p-23), 1-0x1p-23, c) // h·(1 − 2⁻⁴⁶): float64 makes a tie of it
		checkFMA(t, -h*(1+0x1p-23), 1-0x1p-23, c)
		checkFMA(t, h*(1+0x1p-23), 1+0x1p-23, c)
		// Subnormal results, and results around the smallest number.
		checkFMA(t, finite(-70), finite(r.IntN(12)-86), finite(-150+r.IntN(30)))
		checkFMA(t, finite(-75), finite(-75-r.IntN(3)), 0)
		checkFMA(t, math.Float32frombits(r.Uint32N(1<<23)), finite(-1), math.Float32frombits(r.Uint32N(1<<23)))
		checkFMA(t, 0x1p-149, float32(0.5), math.Float32frombits(r.Uint32N(16)))
		// And the far end.
		checkFMA(t, finite(63), finite(64), finite(127))
	}
}

func FuzzFMA(f *testing.F) {
	f.Add(uint32(0x3f800001), uint32(0x3f7fffff), uint32(0x4b800000))
	f.Add(uint32(1), uint32(0x3f000000), uint32(3))
	f.Fuzz(func(t *testing.T, a, b, c uint32) {
		x, y, z := math.Float32frombits(a), math.Float32frombits(b), math.Float32frombits(c)
		for _, v := range []float32{x, y, z} {
			if v != v || math.IsInf(float64(v), 0) {
				return
			}
		}
		checkFMA(t, x, y, z)
	})
}

func TestFMAOfSpecialValues(t *testing.T) {
	inf, nan, zero := float32(math.Inf(1)), float32(math.NaN()), float32(math.Copysign(0, -1))
	for _, c := range []struct{ a, b, c, want float32 }{
		{inf, 2, 1, inf}, {inf, -2, 1, -inf}, {1, 2, -inf, -inf}, {3e38, 3e38, 0, inf}, {3e38, 3e38, -inf, -inf},
		{0, -1, 0, 0}, {0, -1, zero, zero}, {1, 1, -1, 0}, {0x1p-100, -0x1p-100, 0, zero},
	} {
		if got := FMA(c.a, c.b, c.c); math.Float32bits(got) != math.Float32bits(c.want) {
			t.Errorf("FMA(%v, %v, %v) = %v, want %v", c.a, c.b, c.c, got, c.want)
		}
	}
	for _, got := range []float32{FMA(nan, 1, 1), FMA(1, 1, nan), FMA(inf, 0, 1), FMA(inf, 1, -inf)} {
		if got == got {
			t.Errorf("%v is no NaN", got)
		}
	}
}

func BenchmarkFMA(b *testing.B) {
	x, y := float32(1.1), float32(0.9)
	var s [8]float32
	for b.Loop() {
		for i := range s {
			s[i] = FMA(x, y, s[i])
		}
	}
}
