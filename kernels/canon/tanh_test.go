package canon

import (
	"math"
	"testing"
)

func TestTanhIsAccurate(t *testing.T) {
	worst := 0.0
	for u := uint32(0); u < 0x4200_0000; u += 997 { // to 32
		x := math.Float32frombits(u)
		got, want := Tanh(x), math.Tanh(float64(x))
		_, e := math.Frexp(want)
		ulp := math.Ldexp(1, max(e-24, -149))
		if d := math.Abs(float64(got)-want) / ulp; d > worst {
			worst = d
		}
		if -Tanh(-x) != got {
			t.Fatalf("%v: not odd", x)
		}
	}
	if worst >= 1.5 {
		t.Errorf("%v units in the last place", worst)
	}
	for _, x := range []float32{0, 10, 1e30, float32(math.Inf(1)), float32(math.Inf(-1))} {
		if got, want := Tanh(x), float32(math.Tanh(float64(x))); math.Float32bits(got) != math.Float32bits(want) {
			t.Errorf("tanh %v is %v, want %v", x, got, want)
		}
	}
	if x := Tanh(float32(math.NaN())); x == x {
		t.Errorf("tanh NaN is %v", x)
	}
}
