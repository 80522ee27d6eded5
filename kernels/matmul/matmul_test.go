package matmul

import (
	"fmt"
	"math"
	"testing"

	"github.com/farlabs/inference/kernels/canon"
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

func pack(t testing.TB, d tensor.DType, out, in int, raw []byte) *Weights {
	t.Helper()
	w, err := Pack(d, out, in, raw)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// lengths returns row lengths worth testing for a dtype: nothing, one, odd
// ones, and whole blocks.
func lengths(d tensor.DType) []int {
	if b := d.BlockElems(); b > 1 {
		return []int{0, b, 3 * b}
	}
	return []int{0, 1, 7, 16, 33, 100, 191}
}

// linear computes one product over fresh memory.
func linear(q *device.Queue, x tensor.Buffer, w *Weights, bias []float32) tensor.Buffer {
	dst := kerneltest.Zeros(x.Rows, w.Out())
	for i := range dst.F32() {
		dst.F32()[i] = float32(math.NaN()) // every element must be written
	}
	Linear(q, dst, x, w, bias)
	return dst
}

func TestLinearIsTheDefinition(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		q, r := queue(t, 2), kerneltest.Rand(1)
		for _, d := range kerneltest.Weights {
			for _, in := range lengths(d) {
				for _, out := range []int{0, 1, 5, 37} {
					raw := kerneltest.Raw(r, d, out*in)
					w, plain := pack(t, d, out, in, raw), kerneltest.Dequantized(t, d, raw, out*in)
					for _, n := range []int{0, 1, 3, 4, 7, 9, 11} {
						x, bias := kerneltest.Buffer(r, n, in), kerneltest.Floats(r, out)
						if n%2 == 1 {
							bias = nil
						}
						got := linear(q, x, w, bias)
						want := make([]float32, n*out)
						for i := range n {
							for o := range out {
								y, row := canon.Dot(plain[o*in:(o+1)*in], x.Row(i)), plain[o*in:(o+1)*in]
								if bias != nil {
									y += bias[o]
								}
								want[i*out+o] = y
								sum, size := 0.0, 0.0
								for e, v := range row {
									p := float64(v) * float64(x.Row(i)[e])
									sum, size = sum+p, size+math.Abs(p)
								}
								if bias != nil {
									sum, size = sum+float64(bias[o]), size+math.Abs(float64(bias[o]))
								}
								kerneltest.Near(t, y, sum, size, tensor.F32, in)
							}
						}
						kerneltest.Same(t, fmt.Sprintf("%s [%d,%d]×[%d,%d]", d, n, in, out, in), got.F32(), want)
					}
				}
			}
		}
	})
}

func TestRowsEqualDequantize(t *testing.T) {
	r := kerneltest.Rand(2)
	for _, d := range kerneltest.Weights {
		const out = 9
		in := max(96, 2*d.BlockElems())
		if d.BlockElems() == 1 {
			in = 99
		}
		raw := make([]byte, out*d.RowBytes(in))
		copy(raw, kerneltest.Raw(r, d, 8*in))
		for i := 8 * d.RowBytes(in); i < len(raw); i++ {
			raw[i] = byte(i * i) // any bytes at all: infinite scales too
		}
		want := kerneltest.Dequantized(t, d, raw, out*in)
		// Unaligned, as a tensor in a file may be.
		shifted := append(make([]byte, 1, 1+len(raw)), raw...)[1:]
		for _, raw := range [][]byte{raw, shifted} {
			w := pack(t, d, out, in, raw)
			mem, k := make([]float32, w.rowScratch()), (in+15)/16
			lanes := make([]float32, 16*k)
			for o := range out {
				for i := range lanes {
					lanes[i] = 42
				}
				w.lanes(lanes, mem, o)
				for e := range 16 * k {
					u, v := float32(0), lanes[e%16*k+e/16]
					if e < in {
						u = want[o*in+e]
					}
					if math.Float32bits(v) != math.Float32bits(u) && (v == v || u == u) {
						t.Fatalf("%s: row %d element %d: %v, want %v", d, o, e, v, u)
					}
				}
				row := make([]float32, in)
				w.Row(row, o)
				for e, v := range row {
					if u := want[o*in+e]; v != u && (v == v || u == u) {
						t.Fatalf("%s: Row %d element %d: %v, want %v", d, o, e, v, u)
					}
				}
			}
		}
	}
}

// TestLinearIsInvariant holds the contract "same bits": neither the batch, nor
// the place in it, nor the number of workers changes a result.
func TestLinearIsInvariant(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		r := kerneltest.Rand(3)
		for _, d := range kerneltest.Weights {
			in, out := max(192, d.BlockElems()), 37
			w := pack(t, d, out, in, kerneltest.Raw(r, d, out*in))
			x := kerneltest.Buffer(r, 33, in)
			want := linear(queue(t, 1), x, w, nil)
			for _, workers := range []int{1, 2, 5} {
				q := queue(t, workers)
				for _, n := range []int{1, 6, 8, 33} {
					for lo := 0; lo < 33; lo += n {
						hi := min(lo+n, 33)
						got := linear(q, x.Slice(lo, hi), w, nil)
						kerneltest.Same(t, fmt.Sprintf("%s, %d workers, rows %d:%d", d, workers, lo, hi), got.F32(), want.Slice(lo, hi).F32())
					}
				}
			}
		}
	})
}

func TestLargeBatchesAreCutWithinTheLimit(t *testing.T) {
	r, q := kerneltest.Rand(4), queue(t, 2)
	for _, in := range []int{3, 4096} {
		rows := packedLimit / (tileRows * ((in + 15) / 16 * 16)) * tileRows
		n := rows + 9
		w, x := pack(t, tensor.F32, 2, in, kerneltest.Raw(r, tensor.F32, 2*in)), kerneltest.Buffer(r, n, in)
		got := linear(q, x, w, nil)
		for _, i := range []int{0, rows - 1, rows, n - 1} {
			kerneltest.Same(t, fmt.Sprintf("in %d, row %d", in, i), got.Row(i), linear(q, x.Slice(i, i+1), w, nil).F32())
		}
		j := jobs.Get()
		if kept := cap(j.packed) * tileRows; kept == 0 || kept > packedLimit {
			t.Errorf("in %d: kept %d floats, limit %d", in, kept, packedLimit)
		}
		jobs.Put(j)
	}
}

func TestLinearAllocatesNothing(t *testing.T) {
	q, r := queue(t, 2), kerneltest.Rand(5)
	for _, d := range []tensor.DType{tensor.F32, tensor.Q4_1, tensor.Q6_K} {
		w := pack(t, d, 64, 256, kerneltest.Raw(r, d, 64*256)) // weights for two workers
		for _, n := range []int{1, 6} {
			x, dst := kerneltest.Buffer(r, n, 256), kerneltest.Zeros(n, 64)
			for range 20 {
				Linear(q, dst, x, w, nil) // until both workers have had their scratch
			}
			if a := testing.AllocsPerRun(20, func() { Linear(q, dst, x, w, nil) }); a != 0 {
				t.Errorf("%s, %d rows: %v allocations", d, n, a)
			}
		}
	}
}

func TestPackRefusesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		d       tensor.DType
		out, in int
		bytes   int
	}{
		{tensor.I32, 1, 1, 4}, {tensor.Invalid, 1, 1, 1}, {200, 1, 1, 1},
		{tensor.F32, 2, 3, 23}, {tensor.F32, 2, 3, 25}, {tensor.F32, -1, 1, 0}, {tensor.F32, 1, -1, 0},
		{tensor.Q4_0, 1, 33, 18}, {tensor.Q4_K, 1, 32, 144}, {tensor.Q4_0, 1 << 30, 1 << 30, 18},
		{tensor.F32, 1<<30 + 1, 1, 0},
	} {
		if _, err := Pack(c.d, c.out, c.in, make([]byte, c.bytes)); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	w := pack(t, tensor.Q4_0, 2, 64, make([]byte, 72))
	if w.Out() != 2 || w.In() != 64 || w.Bytes() != 72 || w.DType() != tensor.Q4_0 {
		t.Errorf("%+v", w)
	}
}

func TestLinearPanicsOnShapesThatDoNotFit(t *testing.T) {
	q := queue(t, 1)
	w := pack(t, tensor.F32, 2, 3, make([]byte, 24))
	for i, f := range []func(){
		func() { Linear(q, kerneltest.Zeros(1, 2), kerneltest.Zeros(1, 4), w, nil) },
		func() { Linear(q, kerneltest.Zeros(1, 3), kerneltest.Zeros(1, 3), w, nil) },
		func() { Linear(q, kerneltest.Zeros(2, 2), kerneltest.Zeros(1, 3), w, nil) },
		func() { Linear(q, kerneltest.Zeros(1, 2), kerneltest.Zeros(1, 3), w, make([]float32, 3)) },
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

// BenchmarkLinear measures the shape of SmolLM2's gate projection. GB/s counts
// the weights' bytes once per call; ns/weight is per row of x.
func BenchmarkLinear(b *testing.B) {
	const out, in = 1536, 576
	for _, d := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q8_0, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K} {
		in := in
		if d.BlockElems() == 256 {
			in = 512
		}
		for _, n := range []int{1, 8, 16, 512} {
			b.Run(fmt.Sprintf("%s/m=%d", d, n), func(b *testing.B) {
				q, r := queue(b, 0), kerneltest.Rand(6)
				w := pack(b, d, out, in, kerneltest.Raw(r, d, out*in))
				x, dst := kerneltest.Buffer(r, n, in), kerneltest.Zeros(n, out)
				for b.Loop() {
					Linear(q, dst, x, w, nil)
				}
				s := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(float64(w.Bytes())/s/1e9, "GB/s")
				b.ReportMetric(s*1e9/float64(n*out*in), "ns/weight")
			})
		}
	}
}
