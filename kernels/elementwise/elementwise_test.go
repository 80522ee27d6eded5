package elementwise

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
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

func FuzzOpsAreThoseOfPlainGo(f *testing.F) {
	f.Add(kerneltest.Bytes(kerneltest.Floats(kerneltest.Rand(4), 3*77)))
	f.Add(kerneltest.Bytes(slices.Concat(kerneltest.Special, kerneltest.Special, kerneltest.Special)))
	f.Add(kerneltest.Bytes(slices.Concat(kerneltest.Special, kerneltest.Floats(kerneltest.Rand(5), len(kerneltest.Special)+29))))
	q := device.NewQueue(1)
	f.Cleanup(q.Close)
	f.Fuzz(func(t *testing.T, data []byte) {
		all := kerneltest.Bits(data)
		n := len(all) / 3
		a, b := all[:n], all[n:2*n]
		var want [6][]float32
		kerneltest.EachSet(func(impl string) {
			row := func(x []float32) tensor.Buffer { return tensor.Of(slices.Clone(x), 1, n) }
			sum, gated, rounded := row(a), row(a), row(a)
			Add(q, sum, row(b))
			GateSiLU(q, gated, gated, row(b))
			RoundBF16(q, rounded)
			raw := make([]byte, 2*n)
			bf, half, read := make([]float32, n), make([]float32, n), make([]float32, n)
			PutBF16(raw, a)
			GetBF16(bf, raw)
			PutF16(raw, a)
			GetF16(half, raw)
			GetF16(read, data[:2*n])
			kerneltest.Same(t, impl+": bf16 there and back", bf, rounded.F32())
			for i, got := range [6][]float32{sum.F32(), gated.F32(), rounded.F32(), half, read, bf} {
				if impl == "generic" {
					want[i] = got
				}
				kerneltest.Equal(t, fmt.Sprintf("%s: result %d", impl, i), got, want[i])
			}
		})
	})
}

func TestConversionsAreThoseOfQuant(t *testing.T) {
	kerneltest.All(t, "elementwise", func(t *testing.T, impl string) {
		x := append(kerneltest.Floats(kerneltest.Rand(6), 40_001), kerneltest.Special...)
		raw, back := make([]byte, 2*len(x)), make([]float32, len(x))
		PutF16(raw, x)
		GetF16(back, raw)
		for i, v := range x {
			h := binary.LittleEndian.Uint16(raw[2*i:])
			if h != quant.F32ToF16(v) || math.Float32bits(back[i]) != math.Float32bits(quant.F16ToF32(h)) {
				t.Fatalf("f16(%v) = %#x, back %v", v, h, back[i])
			}
		}
		PutBF16(raw, x)
		GetBF16(back, raw)
		for i, v := range x {
			h := binary.LittleEndian.Uint16(raw[2*i:])
			if h != quant.F32ToBF16(v) || math.Float32bits(back[i]) != math.Float32bits(quant.BF16ToF32(h)) {
				t.Fatalf("bf16(%v) = %#x, back %v", v, h, back[i])
			}
		}
	})
}

// TestExponentialsAreThoseOfPlainGo goes through the numbers of either sign.
func TestExponentialsAreThoseOfPlainGo(t *testing.T) {
	const n = 1 << 16
	gate, one := make([]float32, n), make([]float32, n)
	got, want := kerneltest.Zeros(1, n), kerneltest.Zeros(1, n)
	step := uint32(1009)
	if testing.Short() {
		step = 30011
	}
	for i := range one {
		one[i] = 1
	}
	q := queue(t, 2)
	for at := uint32(0); at < math.MaxUint32-n*step; {
		for i := range gate {
			gate[i] = math.Float32frombits(at)
			at += step
		}
		kerneltest.Generic(func() { GateSiLU(q, want, tensor.Of(gate, 1, n), tensor.Of(one, 1, n)) })
		kerneltest.EachSet(func(impl string) {
			GateSiLU(q, got, tensor.Of(gate, 1, n), tensor.Of(one, 1, n))
			kerneltest.Equal(t, impl, got.F32(), want.F32())
		})
	}
}

func BenchmarkOps(b *testing.B) {
	x, y := kerneltest.Buffer(kerneltest.Rand(7), 1, 5632), kerneltest.Buffer(kerneltest.Rand(8), 1, 5632)
	dst, raw := kerneltest.Zeros(1, 5632), make([]byte, 2*5632)
	q := queue(b, 1)
	for _, set := range device.Supported() {
		for _, op := range []struct {
			name string
			run  func()
		}{
			{"add", func() { Add(q, dst, x) }},
			{"silu", func() { GateSiLU(q, dst, x, y) }},
			{"bf16", func() { RoundBF16(q, dst) }},
			{"putbf16", func() { PutBF16(raw, x.F32()) }},
			{"getbf16", func() { GetBF16(dst.F32(), raw) }},
		} {
			b.Run(fmt.Sprintf("%s/n=5632/impl=%s", op.name, set), func(b *testing.B) {
				defer device.UseKernels(set)()
				for b.Loop() {
					op.run()
				}
			})
		}
	}
}
