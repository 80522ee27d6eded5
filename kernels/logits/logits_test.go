package logits

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
)

// rows are rows of logits of many lengths, with a special value here and there.
func rows() (all [][]float32) {
	r := kerneltest.Rand(1)
	for _, n := range []int{0, 1, 15, 16, 17, 255, 256, 257, 1000, 49152, 70_001} {
		plain := kerneltest.Floats(r, n+1)[1:]
		for i := range plain {
			plain[i] *= 10
		}
		wild := slices.Clone(plain)
		for i := range wild {
			if r.IntN(50) == 0 {
				wild[i] = kerneltest.Special[r.IntN(len(kerneltest.Special))]
			}
		}
		all = append(all, plain, wild)
	}
	return all
}

func TestMaxAndFirstFindTheHighestAndLowestId(t *testing.T) {
	kerneltest.All(t, "logits", func(t *testing.T, impl string) {
		for _, x := range rows() {
			want, at := float32(math.Inf(-1)), len(x)
			for i, v := range x {
				if v > want {
					want, at = v, i
				}
			}
			if got := Max(x); got != want {
				t.Fatalf("%d elements: highest %v, want %v", len(x), got, want)
			}
			if at < len(x) {
				if got := First(x, want); got != at {
					t.Fatalf("%d elements: highest at %d, want %d", len(x), got, at)
				}
			}
			if got := First(x, float32(math.NaN())); got != len(x) {
				t.Fatalf("something reaches NaN at %d", got)
			}
		}
		x := make([]float32, 100)
		for i := range x {
			for j := range x {
				x[j] = -1
			}
			x[i] = 2
			for j := i; j < len(x); j += 7 {
				x[j] = 2
			}
			if got := First(x, 2); got != i || Max(x) != 2 {
				t.Fatalf("first 2 at %d, want %d", got, i)
			}
		}
	})
}

func TestCleanLeavesNumbersAlone(t *testing.T) {
	kerneltest.All(t, "logits", func(t *testing.T, impl string) {
		for _, x := range rows() {
			got, want := make([]float32, len(x)), make([]float32, len(x))
			for i, v := range x {
				want[i] = Cleaned(v)
			}
			Clean(got, x)
			kerneltest.Same(t, "clean", got, want)
			Clean(got, got)
			kerneltest.Same(t, "clean twice", got, want)
		}
		for in, want := range map[float32]float32{
			1: 1, float32(math.Inf(1)): math.MaxFloat32, float32(math.Inf(-1)): float32(math.Inf(-1)),
			math.MaxFloat32: math.MaxFloat32, float32(math.NaN()): float32(math.Inf(-1)),
		} {
			if got := Cleaned(in); got != want {
				t.Errorf("%v: %v, want %v", in, got, want)
			}
		}
	})
}

// weights returns the weights and sums of a row.
func weights(x []float32, scale float64) (w, sums []float64) {
	x = slices.Clone(x)
	Clean(x, x)
	high := Max(x)
	if high == float32(math.Inf(-1)) {
		high = 0
	}
	w, sums = make([]float64, len(x)), make([]float64, Blocks(len(x)))
	Weights(w, sums, x, high, scale)
	return w, sums
}

func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
}

func TestWeightsAreExponentialsAndTheirSums(t *testing.T) {
	kerneltest.All(t, "logits", func(t *testing.T, impl string) {
		for _, x := range rows() {
			for _, scale := range []float64{1, 1 / 0.7, 100, 0.01} {
				w, sums := weights(x, scale)
				high := Max(x)
				for b, got := range sums {
					sum := 0.0
					for i := b * Block; i < min((b+1)*Block, len(x)); i++ {
						want := math.Exp((float64(Cleaned(x[i])) - float64(Cleaned(high))) * scale)
						if want < 1e-307 {
							want = w[i] // 0 or nearly
						}
						if math.Abs(w[i]-want) > 1e-15*want || w[i] > got {
							t.Fatalf("weight of %v under %v: %v, want %v; sum %v", x[i], high, w[i], want, got)
						}
						sum += w[i]
					}
					if math.Abs(sum-got) > 1e-13*sum {
						t.Fatalf("sum of block %d: %v, want %v", b, got, sum)
					}
				}
				kerneltest.Generic(func() {
					if v, s := weights(x, scale); !same(v, w) || !same(s, sums) {
						t.Fatalf("%d elements, scale %v: not the bits of plain Go", len(x), scale)
					}
				})
			}
		}
	})
}

func TestExpIsWithinTwoUnits(t *testing.T) {
	for i := range 200_000 {
		x := -float64(i) * 0.00354
		want := math.Exp(x)
		if got := Exp(x); math.Abs(got-want) > 2*(math.Nextafter(want, 2)-want) && want > 1e-306 {
			t.Fatalf("Exp(%v) = %v, want %v", x, got, want)
		}
	}
	if Exp(0) != 1 || Exp(-708) == 0 || Exp(-708.1) != 0 || Exp(math.Inf(-1)) != 0 || Exp(math.NaN()) != 0 {
		t.Error("ends")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	kerneltest.All(t, "logits", func(t *testing.T, impl string) {
		x, w, sums := make([]float32, 1000), make([]float64, 1000), make([]float64, 4)
		if n := testing.AllocsPerRun(50, func() { Clean(x, x); Weights(w, sums, x, Max(x), 1); First(x, 1) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func FuzzLogitsAreThoseOfPlainGo(f *testing.F) {
	f.Add(kerneltest.Bytes(kerneltest.Special), float32(3), 1.0)
	f.Add(kerneltest.Bytes(append(kerneltest.Floats(kerneltest.Rand(2), 600), kerneltest.Special...)), float32(0), 1/0.7)
	f.Fuzz(func(t *testing.T, data []byte, limit float32, scale float64) {
		if !(scale > 0) || math.IsInf(scale, 1) {
			t.Skip()
		}
		x := kerneltest.Bits(data)
		var high float32
		var first int
		var w, sums []float64
		var clean []float32
		kerneltest.EachSet(func(impl string) {
			c := make([]float32, len(x))
			Clean(c, x)
			h, i := Max(x), First(x, limit)
			v, s := weights(x, scale)
			if impl == "generic" {
				high, first, w, sums, clean = h, i, v, s, c
			}
			kerneltest.Same(t, impl, c, clean)
			if math.Float32bits(h) != math.Float32bits(high) || i != first || !same(v, w) || !same(s, sums) {
				t.Fatalf("%s: highest %v, want %v; first %d, want %d; or weights differ", impl, h, high, i, first)
			}
		})
	})
}

func BenchmarkRow(b *testing.B) {
	x := kerneltest.Floats(kerneltest.Rand(3), 49152)
	w, sums := make([]float64, len(x)), make([]float64, Blocks(len(x)))
	dst := make([]float32, len(x))
	high := Max(x)
	for _, set := range device.Supported() {
		for _, op := range []struct {
			name string
			run  func()
		}{
			{"clean", func() { Clean(dst, x) }},
			{"max", func() { Max(x) }},
			{"first", func() { First(x, high) }},
			{"weights", func() { Weights(w, sums, x, high, 1) }},
		} {
			b.Run(fmt.Sprintf("%s/n=%d/impl=%s", op.name, len(x), set), func(b *testing.B) {
				defer device.UseKernels(set)()
				for b.Loop() {
					op.run()
				}
			})
		}
	}
}
