package kerneltest

import (
	"math"
	"slices"
	"testing"

	"github.com/farlabs/inference/kernels/tensor"
)

func TestAllRunsWhatTheMachineHas(t *testing.T) {
	restored := 0
	impl := func(name, missing string, ops ...string) Implementation {
		return Implementation{name, ops, func() string { return missing }, func() func() { return func() { restored++ } }}
	}
	reg := []Implementation{impl("generic", ""), impl("fast", "", "matmul"), impl("gpu", "no device")}
	for _, c := range []struct {
		only, op string
		want     []string
	}{
		{"", "matmul", []string{"generic", "fast"}},
		{"", "norm", []string{"generic"}},
		{"fast", "matmul", []string{"fast"}},
		{"generic", "matmul", []string{"generic"}},
	} {
		var ran []string
		restored = 0
		run(t, reg, c.only, "", c.op, func(t *testing.T, impl string) { ran = append(ran, impl) })
		if !slices.Equal(ran, c.want) || restored != len(ran) {
			t.Errorf("%+v: ran %v, restored %d", c, ran, restored)
		}
	}
}

func TestRawScalesAreSane(t *testing.T) {
	r := Rand(1)
	for _, d := range Weights {
		n := 4096
		x := Dequantized(t, d, Raw(r, d, n), n)
		zero := 0
		for _, v := range x {
			if a := math.Abs(float64(v)); !(a < 600) {
				t.Fatalf("%s: %v", d, v)
			} else if a == 0 {
				zero++
			}
		}
		if zero > n/4 {
			t.Errorf("%s: %d of %d elements are 0", d, zero, n)
		}
	}
	if !slices.Equal(Raw(Rand(7), tensor.Q6_K, 256), Raw(Rand(7), tensor.Q6_K, 256)) {
		t.Error("the same seed gives other bytes")
	}
}

func TestToleranceGrowsWithLengthAndWidth(t *testing.T) {
	if a, b := Tolerance(tensor.F32, 576), Tolerance(tensor.F32, 1536); !(a < b) {
		t.Errorf("%g, %g", a, b)
	}
	if a, b := Tolerance(tensor.F32, 576), Tolerance(tensor.BF16, 576); !(a < b) {
		t.Errorf("%g, %g", a, b)
	}
}
