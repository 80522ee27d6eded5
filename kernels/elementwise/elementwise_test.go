package elementwise

import (
	"fmt"
	"math"
	"testing"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func queue(t testing.TB, workers int) *device.Queue {
	q := device.NewQueue(workers)
	t.Cleanup(q.Close)
	return q
}

func clone(x tensor.Buffer) tensor.Buffer {
	return tensor.Of(append([]float32{}, x.F32()...), x.Rows, x.Cols)
}

var shapes = [][2]int{{0, 5}, {1, 0}, {1, 1}, {3, 7}, {40, 1001}}

func TestOpsAreTheirFormulas(t *testing.T) {
	kerneltest.All(t, "elementwise", func(t *testing.T, impl string) {
		q, r := queue(t, 2), kerneltest.Rand(1)
		for _, s := range shapes {
			a, b := kerneltest.Buffer(r, s[0], s[1]), kerneltest.Buffer(r, s[0], s[1])
			for i, v := range a.F32() {
				a.F32()[i] = v * 5
			}
			sum, gated, rounded := clone(a), kerneltest.Zeros(s[0], s[1]), clone(a)
			Add(q, sum, b)
			GateSiLU(q, gated, a, b)
			RoundBF16(q, rounded)
			for i, x := range a.F32() {
				y := b.F32()[i]
				if got := sum.F32()[i]; got != x+y {
					t.Fatalf("%v + %v = %v", x, y, got)
				}
				want := float64(x) / (1 + math.Exp(-float64(x))) * float64(y)
				kerneltest.Near(t, gated.F32()[i], want, math.Abs(want), tensor.F32, 1)
				if got, want := rounded.F32()[i], quant.BF16ToF32(quant.F32ToBF16(x)); got != want {
					t.Fatalf("bf16(%v) = %v, want %v", x, got, want)
				}
			}
			for i, dst := range []tensor.Buffer{clone(a), clone(b)} {
				gate, up := a, b
				if i == 0 {
					gate = dst
				} else {
					up = dst
				}
				GateSiLU(q, dst, gate, up)
				kerneltest.Same(t, "in place", dst.F32(), gated.F32())
			}
		}
	})
}

func TestRoundBF16KeepsSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), math.Float32frombits(0x7f800001)
	x := []float32{0, float32(math.Copysign(0, -1)), inf, -inf, nan, math.MaxFloat32, 1e-45, math.Float32frombits(0x3f808000), math.Float32frombits(0x3f818000)}
	want := []uint32{0, 0x8000_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0000, 0, 0x3f80_0000, 0x3f82_0000}
	RoundBF16(queue(t, 1), tensor.Of(x, 1, len(x)))
	for i, v := range x {
		if got := math.Float32bits(v); got != want[i] {
			t.Errorf("%d: %#x, want %#x", i, got, want[i])
		}
	}
}

func TestOpsAreInvariant(t *testing.T) {
	kerneltest.All(t, "elementwise", func(t *testing.T, impl string) {
		const n, d = 33, 1537
		r := kerneltest.Rand(2)
		a, b := kerneltest.Buffer(r, n, d), kerneltest.Buffer(r, n, d)
		all := func(q *device.Queue, lo, hi int) tensor.Buffer {
			x := clone(a.Slice(lo, hi))
			GateSiLU(q, x, x, b.Slice(lo, hi))
			Add(q, x, b.Slice(lo, hi))
			RoundBF16(q, x)
			return x
		}
		want := all(queue(t, 1), 0, n)
		for _, workers := range []int{1, 2, 5} {
			q := queue(t, workers)
			for _, batch := range []int{1, 8, 33} {
				for lo := 0; lo < n; lo += batch {
					hi := min(lo+batch, n)
					kerneltest.Same(t, fmt.Sprintf("%d workers, rows %d:%d", workers, lo, hi), all(q, lo, hi).F32(), want.Slice(lo, hi).F32())
				}
			}
		}
	})
}

func TestOpsAllocateNothingAndCheckShapes(t *testing.T) {
	q, x := queue(t, 2), kerneltest.Zeros(64, 576)
	all := func() { Add(q, x, x); GateSiLU(q, x, x, x); RoundBF16(q, x) }
	all()
	if a := testing.AllocsPerRun(50, all); a != 0 {
		t.Errorf("%v allocations", a)
	}
	y := kerneltest.Zeros(576, 64)
	for i, f := range []func(){
		func() { Add(q, x, y) },
		func() { GateSiLU(q, x, x, y) },
		func() { GateSiLU(q, x, y, x) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("case %d: no panic", i)
				}
			}()
			f()
		}()
	}
}
