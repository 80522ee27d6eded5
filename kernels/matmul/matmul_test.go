package matmul

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

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

func pack(t testing.TB, q *device.Queue, d tensor.DType, out, in int, raw []byte) *Weights {
	t.Helper()
	w, err := Pack(q, d, out, in, raw)
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
	return []int{0, 1, 7, 33, 100}
}

// linear computes one product over fresh memory.
func linear(q *device.Queue, x tensor.Buffer, act Activations, w *Weights, bias []float32) tensor.Buffer {
	dst := kerneltest.Zeros(x.Rows, w.Out())
	for i := range dst.F32() {
		dst.F32()[i] = float32(math.NaN()) // every element must be written
	}
	Linear(q, x, act, Product{dst, w, bias})
	return dst
}

// forms are the activations that change anything for a dtype.
func forms(d tensor.DType) []Activations {
	if d.BlockElems() == 1 {
		return []Activations{Int8}
	}
	return []Activations{Int8, F32}
}

func TestLinearIsTheDefinition(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		q, r := queue(t, 2), kerneltest.Rand(1)
		for _, d := range kerneltest.Weights {
			for _, in := range lengths(d) {
				const most, all = 14, 69
				raw, row := kerneltest.Raw(r, d, all*in), d.RowBytes(in)
				x, bias := kerneltest.Buffer(r, most, in), kerneltest.Floats(r, all)
				for _, act := range forms(d) {
					want := make([]float32, most*all)
					for i := range want {
						o := i % all
						want[i] = definition(d, raw[o*row:(o+1)*row], x.Row(i/all), act)
					}
					for _, out := range []int{0, 1, 16, all} {
						w := pack(t, q, d, out, in, raw[:out*row])
						for n := range most + 1 {
							b, what := bias[:out], fmt.Sprintf("%s, %s [%d,%d]×[%d,%d]", d, act, n, in, out, in)
							if n%2 == 1 {
								b = nil
							}
							got := linear(q, x.Slice(0, n), act, w, b)
							for i := range n {
								expect := append([]float32(nil), want[i*all:i*all+out]...)
								for o := range b {
									expect[o] += b[o]
								}
								kerneltest.Same(t, what, got.Row(i), expect)
							}
						}
					}
				}
			}
		}
	})
}

func TestLinearIsNearTheMathematics(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		const out, in, n = 40, 1024, 3
		q, r := queue(t, 2), kerneltest.Rand(2)
		for _, d := range kerneltest.Weights {
			raw := kerneltest.Raw(r, d, out*in)
			w, plain := pack(t, q, d, out, in, raw), kerneltest.Dequantized(t, d, raw, out*in)
			x := kerneltest.Buffer(r, n, in)
			for _, act := range forms(d) {
				got := linear(q, x, act, w, nil)
				quantised := act == Int8 && d.BlockElems() > 1
				for i := range n * out {
					row, sum, size, step := x.Row(i/out), 0.0, 0.0, 0.0
					for k, v := range plain[i%out*in : (i%out+1)*in] {
						p := float64(v) * float64(row[k])
						sum, size = sum+p, size+math.Abs(p)
						if quantised { // half a step of the block's scale
							_, s, _ := quantizedBlock(row[k/32*32 : (k/32+1)*32])
							step += math.Abs(float64(v)) * float64(s) / 2
						}
					}
					if e := math.Abs(float64(got.F32()[i]) - sum); e > 0x1p-24*float64(in/32*2+64)*size+step {
						t.Fatalf("%s, %s, element %d: %v, want %v ± %v", d, act, i, got.F32()[i], sum, step)
					}
				}
			}
		}
	})
}

// TestLinearIsInvariant holds the contract "same bits": neither the batch, nor
// the place in it, nor the number of workers, nor the matrices that share the
// call change a result.
func TestLinearIsInvariant(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		r := kerneltest.Rand(3)
		for _, d := range kerneltest.Weights {
			in, out := max(96, d.BlockElems()), 101
			one := queue(t, 1)
			w := pack(t, one, d, out, in, kerneltest.Raw(r, d, out*in))
			other := pack(t, one, tensor.Q6_K, 33, 256, kerneltest.Raw(r, tensor.Q6_K, 33*256))
			x := kerneltest.Buffer(r, 33, in)
			for _, act := range forms(d) {
				want := linear(one, x, act, w, nil)
				for _, workers := range []int{2, 5} {
					q := queue(t, workers)
					for _, n := range []int{1, 2, 6, 15, 33} {
						for lo := 0; lo < 33; lo += n {
							hi := min(lo+n, 33)
							what := fmt.Sprintf("%s, %s, %d workers, rows %d:%d", d, act, workers, lo, hi)
							expect := want.Slice(lo, hi).F32()
							if in != 256 {
								kerneltest.Same(t, what, linear(q, x.Slice(lo, hi), act, w, nil).F32(), expect)
								continue
							}
							a, b, c := kerneltest.Zeros(hi-lo, out), kerneltest.Zeros(hi-lo, 33), kerneltest.Zeros(hi-lo, out)
							Linear(q, x.Slice(lo, hi), act, Product{Dst: a, W: w}, Product{Dst: b, W: other}, Product{Dst: c, W: w})
							kerneltest.Same(t, what, a.F32(), expect)
							kerneltest.Same(t, what, c.F32(), expect)
							kerneltest.Same(t, what, b.F32(), linear(one, x.Slice(lo, hi), act, other, nil).F32())
						}
					}
				}
			}
		}
	})
}

func TestActivationsThatAreNoNumbersSpoilTheirRowAlone(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		q, r := queue(t, 2), kerneltest.Rand(4)
		const out, in = 20, 256
		inf := float32(math.Inf(1))
		for _, d := range kerneltest.Weights {
			raw := kerneltest.Raw(r, d, out*in)
			w, row := pack(t, q, d, out, in, raw), d.RowBytes(in)
			x := kerneltest.Buffer(r, 10, in)
			for i, v := range []float32{float32(math.NaN()), inf, -inf} {
				x.Row(3 * i)[in-1-40*i] = v
			}
			for k := range in { // blocks of nothing, of next to nothing, of huge numbers
				x.Row(1)[k] *= float32([]float64{0, 1e-45, 1e-38, 1e-36, 3e37, 1, 0x1p-149, 1e-20}[k/32])
			}
			for _, act := range forms(d) {
				for _, n := range []int{1, 2, 10} {
					got := linear(q, x.Slice(0, n), act, w, nil)
					for i := range n {
						for o, v := range got.Row(i) {
							want := definition(d, raw[o*row:(o+1)*row], x.Row(i), act)
							if math.Float32bits(v) != math.Float32bits(want) && (v == v || want == want) {
								t.Fatalf("%s, %s, row %d of %d, element %d: %v, want %v", d, act, i, n, o, v, want)
							}
						}
					}
				}
			}
		}
	})
}

func TestLongRowsAreCutIntoCalls(t *testing.T) {
	kerneltest.All(t, "matmul", func(t *testing.T, impl string) {
		q, r := queue(t, 1), kerneltest.Rand(5)
		const out, in = 35, 32*callBlocks*2 + 256
		for _, d := range []tensor.DType{tensor.Q8_0, tensor.Q4_K, tensor.F16} {
			raw, row, x := kerneltest.Raw(r, d, out*in), d.RowBytes(in), kerneltest.Buffer(r, 5, in)
			w := pack(t, q, d, out, in, raw)
			for _, n := range []int{1, 5} {
				got := linear(q, x.Slice(0, n), Int8, w, nil)
				for _, o := range []int{0, 16, 34} {
					if v, want := got.Row(n - 1)[o], definition(d, raw[o*row:(o+1)*row], x.Row(n-1), Int8); v != want {
						t.Fatalf("%s, %d rows, element %d: %v, want %v", d, n, o, v, want)
					}
				}
			}
		}
	})
}

func TestLargeBatchesAreCutWithinTheLimit(t *testing.T) {
	r, q := kerneltest.Rand(6), queue(t, 2)
	for _, in := range []int{32, 4096} {
		for _, act := range []Activations{Int8, F32} {
			w := pack(t, q, tensor.Q8_0, 2, in, kerneltest.Raw(r, tensor.Q8_0, 2*in))
			n := batchLimit/(in/32*int8Size) + 9
			x := kerneltest.Buffer(r, n, in)
			got := linear(q, x, act, w, nil)
			for _, i := range []int{0, n / 2, n - 10, n - 9, n - 1} {
				kerneltest.Same(t, fmt.Sprintf("in %d, row %d", in, i), got.Row(i), linear(q, x.Slice(i, i+1), act, w, nil).F32())
			}
			j := jobs.Get()
			if kept := cap(j.acts[act].mem); kept == 0 || kept > batchLimit {
				t.Errorf("in %d: kept %d bytes, limit %d", in, kept, batchLimit)
			}
			jobs.Put(j)
		}
	}
}

func TestLinearAllocatesNothing(t *testing.T) {
	q, r := queue(t, 2), kerneltest.Rand(7)
	for _, d := range []tensor.DType{tensor.F32, tensor.Q4_1, tensor.Q6_K} {
		w := pack(t, q, d, 64, 256, kerneltest.Raw(r, d, 64*256)) // weights for two workers
		bias := make([]float32, 64)
		for _, n := range []int{1, 6} {
			x, dst, more := kerneltest.Buffer(r, n, 256), kerneltest.Zeros(n, 64), kerneltest.Zeros(n, 64)
			f := func() { Linear(q, x, Int8, Product{dst, w, bias}, Product{Dst: more, W: w}) }
			f()
			if a := testing.AllocsPerRun(20, f); a != 0 {
				t.Errorf("%s, %d rows: %v allocations", d, n, a)
			}
		}
	}
}

func TestLinearPanicsOnShapesThatDoNotFit(t *testing.T) {
	q := queue(t, 1)
	w := pack(t, q, tensor.F32, 2, 3, make([]byte, 24))
	for i, f := range []func(){
		func() { Linear(q, kerneltest.Zeros(1, 4), Int8, Product{kerneltest.Zeros(1, 2), w, nil}) },
		func() { Linear(q, kerneltest.Zeros(1, 3), Int8, Product{kerneltest.Zeros(1, 3), w, nil}) },
		func() { Linear(q, kerneltest.Zeros(1, 3), Int8, Product{kerneltest.Zeros(2, 2), w, nil}) },
		func() {
			Linear(q, kerneltest.Zeros(1, 3), Int8, Product{kerneltest.Zeros(1, 2), w, make([]float32, 3)})
		},
		func() { Linear(q, kerneltest.Zeros(1, 3), numActivations, Product{kerneltest.Zeros(1, 2), w, nil}) },
		func() { w.Row(make([]float32, 3), 2) },
		func() { w.Row(make([]float32, 2), 0) },
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

// TestAssemblyKnowsTheFields holds the offsets that kernels/_asm/matmul has.
func TestAssemblyKnowsTheFields(t *testing.T) {
	var l tile
	var b int8Block
	var x f32Block
	for i, offset := range []uintptr{
		unsafe.Offsetof(l.y), unsafe.Offsetof(l.stride), unsafe.Offsetof(l.codes), unsafe.Offsetof(l.scales),
		unsafe.Offsetof(l.next), unsafe.Offsetof(l.x), unsafe.Offsetof(l.blocks), unsafe.Offsetof(l.columns),
		unsafe.Offsetof(l.width), unsafe.Offsetof(l.rows), unsafe.Offsetof(l.load), unsafe.Offsetof(l.store),
		unsafe.Offsetof(l.soonCodes), unsafe.Offsetof(l.soonScales),
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && offset != 8*uintptr(i) {
			t.Errorf("field %d of a tile lies at %d", i, offset)
		}
	}
	if unsafe.Offsetof(b.d) != 32 || unsafe.Offsetof(b.u) != 36 || unsafe.Offsetof(b.starts) != 40 || int8Size != 64 {
		t.Error("a block of 8-bit activations lies otherwise")
	}
	if unsafe.Offsetof(x.sum) != 128 || f32Size != 144 {
		t.Error("a block of float32 activations lies otherwise")
	}
}
