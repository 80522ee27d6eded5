package rope

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
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

func TestApplyIsARotation(t *testing.T) {
	kerneltest.All(t, "rope", func(t *testing.T, impl string) {
		q, r := queue(t, 2), kerneltest.Rand(1)
		for _, c := range []struct{ heads, dim, rotated int }{{1, 2, 2}, {3, 64, 64}, {9, 64, 16}, {2, 80, 80}, {2, 40, 24}, {2, 7, 6}, {2, 5, 0}} {
			for _, style := range []Style{Half, Interleaved} {
				inv := Frequencies(c.rotated, 10000, nil)
				positions := []int32{0, 1, 17, 17, 8191, 131071}
				x := kerneltest.Buffer(r, len(positions), c.heads*c.dim)
				got := clone(x)
				Apply(q, got, c.heads, c.dim, positions, inv, style)
				for i, p := range positions {
					for h := range c.heads {
						in, out := x.Row(i)[h*c.dim:(h+1)*c.dim], got.Row(i)[h*c.dim:(h+1)*c.dim]
						kerneltest.Same(t, "dimensions past the rotated", out[c.rotated:], in[c.rotated:])
						for j, f := range inv {
							m, n := j, j+len(inv)
							if style == Interleaved {
								m, n = 2*j, 2*j+1
							}
							s, k := math.Sincos(float64(float32(p) * f)) // the angle is a float32
							a, b := float64(in[m]), float64(in[n])
							kerneltest.Near(t, out[m], a*k-b*s, math.Abs(a*k)+math.Abs(b*s), tensor.F32, 2)
							kerneltest.Near(t, out[n], b*k+a*s, math.Abs(b*k)+math.Abs(a*s), tensor.F32, 2)
						}
					}
				}
				kerneltest.Same(t, "position 0", got.Row(0), x.Row(0))

				angles, turned := kerneltest.Zeros(len(positions), c.rotated), clone(x)
				Angles(q, angles, positions, inv)
				Rotate(q, turned, c.heads, c.dim, angles, style)
				kerneltest.Same(t, "angles apart", turned.F32(), got.F32())
				generic := clone(x)
				kerneltest.Generic(func() { Apply(q, generic, c.heads, c.dim, positions, inv, style) })
				kerneltest.Same(t, "generic", generic.F32(), got.F32())
			}
		}
	})
}

func TestApplyIsInvariant(t *testing.T) {
	kerneltest.All(t, "rope", func(t *testing.T, impl string) {
		const n, heads, dim = 33, 9, 64
		x, inv := kerneltest.Buffer(kerneltest.Rand(2), n, heads*dim), Frequencies(dim, 1e5, nil)
		positions := make([]int32, n)
		for i := range positions {
			positions[i] = int32(i * 7 % 40)
		}
		want := clone(x)
		Apply(queue(t, 1), want, heads, dim, positions, inv, Half)
		for _, workers := range []int{1, 2, 5} {
			q := queue(t, workers)
			for _, batch := range []int{1, 8, 33} {
				got := clone(x)
				for lo := 0; lo < n; lo += batch {
					hi := min(lo+batch, n)
					Apply(q, got.Slice(lo, hi), heads, dim, positions[lo:hi], inv, Half)
				}
				kerneltest.Same(t, fmt.Sprintf("%d workers, batches of %d", workers, batch), got.F32(), want.F32())
			}
		}
	})
}

func TestFrequenciesAreCorrectlyRounded(t *testing.T) {
	for _, c := range []struct {
		dims  int
		theta float64
	}{{2, 10000}, {64, 10000}, {64, 1e5}, {80, 1e6}, {96, 10000}, {128, 5e5}, {128, 1}, {256, 8e6}, {10, 3.5}} {
		inv := Frequencies(c.dims, c.theta, nil)
		if len(inv) != c.dims/2 || inv[0] != 1 {
			t.Fatalf("%+v: %v", c, inv)
		}
		half := c.dims / 2
		for j, f := range inv {
			// theta^(−j/half) lies between the midpoints to f's neighbours: compare
			// the half-th powers of these, exactly, with theta^−j.
			lo, hi := mid(f, math.Nextafter32(f, 0)), mid(f, math.Nextafter32(f, 2))
			target := pow(big.NewRat(1, 1).SetFloat64(c.theta), j)
			if new(big.Rat).Mul(pow(lo, half), target).Cmp(big.NewRat(1, 1)) > 0 ||
				new(big.Rat).Mul(pow(hi, half), target).Cmp(big.NewRat(1, 1)) < 0 {
				t.Errorf("%+v: frequency %d = %v is not the nearest", c, j, f)
			}
		}
	}
}

// mid returns (a+b)/2.
func mid(a, b float32) *big.Rat { return new(big.Rat).SetFloat64((float64(a) + float64(b)) / 2) }

func pow(x *big.Rat, n int) *big.Rat {
	e := big.NewInt(int64(n))
	return new(big.Rat).SetFrac(new(big.Int).Exp(x.Num(), e, nil), new(big.Int).Exp(x.Denom(), e, nil))
}

func TestFactorsDivideFrequencies(t *testing.T) {
	plain, scaled := Frequencies(6, 10000, nil), Frequencies(6, 10000, []float32{1, 2, 8})
	kerneltest.Same(t, "factors", scaled, []float32{plain[0], plain[1] / 2, plain[2] / 8})
}

func TestApplyAllocatesNothing(t *testing.T) {
	q, x, inv, positions := queue(t, 2), kerneltest.Zeros(64, 576), Frequencies(64, 10000, nil), make([]int32, 64)
	angles := kerneltest.Zeros(64, 64)
	Angles(q, angles, positions, inv)
	for range 50 {
		Apply(q, x, 9, 64, positions, inv, Half)
	}
	if a := testing.AllocsPerRun(50, func() { Apply(q, x, 9, 64, positions, inv, Half); Rotate(q, x, 9, 64, angles, Half) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func TestWhatDoesNotFitPanics(t *testing.T) {
	q, x, inv := queue(t, 1), kerneltest.Zeros(2, 8), make([]float32, 2)
	for i, f := range []func(){
		func() { Apply(q, x, 3, 4, []int32{0, 1}, inv, Half) },
		func() { Apply(q, x, 2, 4, []int32{0}, inv, Half) },
		func() { Apply(q, x, 2, 4, []int32{0, 1}, make([]float32, 3), Half) },
		func() { Apply(q, x, 2, 4, []int32{0, 1}, inv, 2) },
		func() { Angles(q, x, []int32{0, 1}, inv) },
		func() { Rotate(q, x, 2, 4, kerneltest.Zeros(1, 4), Half) },
		func() { Frequencies(3, 10000, nil) },
		func() { Frequencies(4, 0.5, nil) },
		func() { Frequencies(4, math.NaN(), nil) },
		func() { Frequencies(4, math.Inf(1), nil) },
		func() { Frequencies(4, 10000, make([]float32, 3)) },
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

func FuzzRotationIsThatOfPlainGo(f *testing.F) {
	f.Add(kerneltest.Bytes(kerneltest.Floats(kerneltest.Rand(4), 200)), uint8(16), uint8(2), uint8(0), int32(77))
	f.Add(kerneltest.Bytes(append(kerneltest.Floats(kerneltest.Rand(5), 99), kerneltest.Special...)), uint8(8), uint8(1), uint8(1), int32(-1))
	q := device.NewQueue(1)
	f.Cleanup(q.Close)
	f.Fuzz(func(t *testing.T, data []byte, pairs, heads, style uint8, position int32) {
		x := kerneltest.Bits(data)
		half, n := int(pairs%64), 1+int(heads%8)
		dim := len(x) / n
		if 2*half > dim {
			t.Skip()
		}
		x = x[:n*dim]
		var want []float32
		kerneltest.EachSet(func(impl string) {
			got := append([]float32{}, x...)
			Apply(q, tensor.Of(got, 1, n*dim), n, dim, []int32{position}, Frequencies(2*half, 1e4, nil), Style(style%2))
			if want == nil {
				want = got
			}
			kerneltest.Equal(t, impl, got, want)
		})
	})
}

func BenchmarkRotate(b *testing.B) {
	for _, set := range device.Supported() {
		b.Run("impl="+set.String(), func(b *testing.B) {
			defer device.UseKernels(set)()
			q, x, inv := queue(b, 1), kerneltest.Zeros(1, 2048), Frequencies(64, 1e4, nil)
			angles := kerneltest.Zeros(1, 64)
			Angles(q, angles, []int32{100}, inv)
			for b.Loop() {
				Rotate(q, x, 32, 64, angles, Half)
			}
		})
	}
}

func BenchmarkAngles(b *testing.B) {
	q, inv, angles := queue(b, 1), Frequencies(64, 1e4, nil), kerneltest.Zeros(1, 64)
	for b.Loop() {
		Angles(q, angles, []int32{100}, inv)
	}
}
