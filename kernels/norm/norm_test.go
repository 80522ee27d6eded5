package norm

import (
	"fmt"
	"math"
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

func TestRMSIsTheFormula(t *testing.T) {
	kerneltest.All(t, "norm", func(t *testing.T, impl string) {
		q, r := queue(t, 2), kerneltest.Rand(1)
		for _, d := range []int{0, 1, 7, 16, 33, 576} {
			for _, n := range []int{0, 1, 5} {
				x, w, dst := kerneltest.Buffer(r, n, d), kerneltest.Floats(r, d), kerneltest.Zeros(n, d)
				RMS(q, dst, x, w, 1e-5)
				for i := range n {
					sum := 0.0
					for _, v := range x.Row(i) {
						sum += float64(v) * float64(v)
					}
					scale := 1 / math.Sqrt(sum/float64(d)+1e-5)
					for k, v := range x.Row(i) {
						want := float64(v) * scale * float64(w[k])
						kerneltest.Near(t, dst.Row(i)[k], want, math.Abs(want), tensor.F32, d)
					}
				}
				RMS(q, x, x, w, 1e-5)
				kerneltest.Same(t, "in place", x.F32(), dst.F32())
			}
		}
	})
}

func TestRMSIsInvariant(t *testing.T) {
	kerneltest.All(t, "norm", func(t *testing.T, impl string) {
		const n, d = 33, 576
		r := kerneltest.Rand(2)
		x, w, want := kerneltest.Buffer(r, n, d), kerneltest.Floats(r, d), kerneltest.Zeros(n, d)
		RMS(queue(t, 1), want, x, w, 1e-6)
		for _, workers := range []int{1, 2, 5} {
			q := queue(t, workers)
			for _, batch := range []int{1, 8, 33} {
				got := kerneltest.Zeros(n, d)
				for lo := 0; lo < n; lo += batch {
					hi := min(lo+batch, n)
					RMS(q, got.Slice(lo, hi), x.Slice(lo, hi), w, 1e-6)
				}
				kerneltest.Same(t, fmt.Sprintf("%d workers, batches of %d", workers, batch), got.F32(), want.F32())
			}
		}
	})
}

func TestRMSOfZerosIsZero(t *testing.T) {
	x := kerneltest.Zeros(2, 20)
	RMS(queue(t, 1), x, x, kerneltest.Floats(kerneltest.Rand(3), 20), 1e-6)
	for _, v := range x.F32() {
		if v != 0 {
			t.Fatal(v)
		}
	}
}

func TestRMSAllocatesNothingAndChecksShapes(t *testing.T) {
	q, x, w := queue(t, 2), kerneltest.Zeros(64, 576), make([]float32, 576)
	RMS(q, x, x, w, 1)
	if a := testing.AllocsPerRun(50, func() { RMS(q, x, x, w, 1) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
	for i, f := range []func(){
		func() { RMS(q, x, x, w[1:], 1) },
		func() { RMS(q, x.Slice(0, 1), x, w, 1) },
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

func FuzzRMSIsThatOfPlainGo(f *testing.F) {
	f.Add(kerneltest.Bytes(kerneltest.Floats(kerneltest.Rand(4), 2*77)))
	f.Add(kerneltest.Bytes(kerneltest.Floats(kerneltest.Rand(5), 2*16)))
	f.Add(kerneltest.Bytes(append(kerneltest.Floats(kerneltest.Rand(6), 35), kerneltest.Special...)))
	q := device.NewQueue(1)
	f.Cleanup(q.Close)
	f.Fuzz(func(t *testing.T, data []byte) {
		all := kerneltest.Bits(data)
		n := len(all) / 2
		var want []float32
		kerneltest.EachSet(func(impl string) {
			got := make([]float32, n)
			RMS(q, tensor.Of(got, 1, n), tensor.Of(all[:n], 1, n), all[n:2*n], 1e-5)
			if impl == "generic" {
				want = got
			}
			kerneltest.Equal(t, impl, got, want)
		})
	})
}

func BenchmarkRMS(b *testing.B) {
	x, w, dst := kerneltest.Buffer(kerneltest.Rand(7), 1, 2048), make([]float32, 2048), kerneltest.Zeros(1, 2048)
	for _, set := range device.Supported() {
		b.Run("d=2048/impl="+set.String(), func(b *testing.B) {
			defer device.UseKernels(set)()
			q := queue(b, 1)
			for b.Loop() {
				RMS(q, dst, x, w, 1e-5)
			}
		})
	}
}
