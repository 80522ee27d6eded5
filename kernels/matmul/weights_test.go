package matmul

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/tensor"
)

func TestRowsEqualDequantize(t *testing.T) {
	q, r := queue(t, 2), kerneltest.Rand(10)
	for _, d := range kerneltest.Weights {
		const out = 19
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
			w := pack(t, q, d, out, in, raw)
			for o := range out {
				row := make([]float32, in)
				w.Row(row, o)
				for e, v := range row {
					if u := want[o*in+e]; math.Float32bits(v) != math.Float32bits(u) && (v == v || u == u) {
						t.Fatalf("%s: row %d element %d: %v, want %v", d, o, e, v, u)
					}
				}
			}
		}
	}
}

func TestPackingWritesEveryByteAndAlwaysTheSame(t *testing.T) {
	q, r := queue(t, 2), kerneltest.Rand(11)
	for _, d := range kerneltest.Weights {
		for _, in := range lengths(d) {
			for _, out := range []int{0, 1, 16, 37} {
				raw := kerneltest.Raw(r, d, out*in)
				n, err := PackedBytes(d, out, in)
				if err != nil {
					t.Fatal(err)
				}
				a, b := aligned(int(n)), aligned(int(n))
				for i := range b {
					b[i] = 0xff
				}
				for _, dst := range [][]byte{a, b} {
					if err := PackTo(q, dst, d, out, in, raw); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(a, b) {
					t.Errorf("%s [%d,%d]: what was there before shows", d, out, in)
				}
				w, err := Packed(d, out, in, a)
				if err != nil || w.Out() != out || w.In() != in || w.DType() != d || w.Bytes() != n {
					t.Errorf("%s [%d,%d]: %+v, %v", d, out, in, w, err)
				}
			}
		}
	}
}

func TestPackRefusesWhatDoesNotFit(t *testing.T) {
	q := queue(t, 1)
	for _, c := range []struct {
		d       tensor.DType
		out, in int
		bytes   int
	}{
		{tensor.I32, 1, 1, 4}, {tensor.Invalid, 1, 1, 4}, {200, 1, 1, 4}, {tensor.F32, 1, 2, 4}, {tensor.F32, -1, 2, 0},
		{tensor.F32, 1, -2, 0}, {tensor.Q4_0, 1, 33, 18}, {tensor.Q4_K, 1, 32, 144}, {tensor.Q4_0, 1 << 30, 1 << 30, 18},
		{tensor.F32, 1<<30 + 1, 1, 0},
	} {
		if _, err := Pack(q, c.d, c.out, c.in, make([]byte, c.bytes)); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	n, err := PackedBytes(tensor.Q8_0, 17, 64)
	if err != nil || n != 2*(1024+64) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	mem, raw := aligned(int(n)+64), make([]byte, 17*68)
	for _, p := range [][]byte{mem[:n-1], mem[:n+1], mem[4 : n+4], nil} {
		if PackTo(q, p, tensor.Q8_0, 17, 64, raw) == nil {
			t.Errorf("packed into %d bytes", len(p))
		}
		if _, err := Packed(tensor.Q8_0, 17, 64, p); err == nil {
			t.Errorf("%d bytes accepted", len(p))
		}
	}
	if PackTo(q, mem[:n], tensor.Q8_0, 17, 64, raw[1:]) == nil {
		t.Error("a short matrix accepted")
	}
}

// FuzzPackedWeights reads memory of any contents as packed weights.
func FuzzPackedWeights(f *testing.F) {
	f.Add(uint8(tensor.Q6_K), uint8(3), uint8(1), []byte("\xff\x7c"))
	f.Add(uint8(tensor.F16), uint8(17), uint8(33), []byte{0, 0x7e, 1})
	q := queue(f, 1)
	f.Fuzz(func(t *testing.T, dtype, out, in uint8, fill []byte) {
		d := tensor.DType(dtype)
		n, err := PackedBytes(d, int(out), int(in)*max(d.BlockElems(), 1))
		if err != nil || len(fill) == 0 {
			return
		}
		p := aligned(int(n))
		for i := range p {
			p[i] = fill[i%len(fill)]
		}
		w, err := Packed(d, int(out), int(in)*d.BlockElems(), p)
		if err != nil {
			t.Fatal(err)
		}
		x := kerneltest.Buffer(kerneltest.Rand(1), 2, w.In())
		for _, act := range forms(d) {
			linear(q, x, act, w, nil)
		}
		for o := range w.Out() {
			w.Row(make([]float32, w.In()), o)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	const out, in = 5632, 2048
	q := queue(b, 0)
	for _, d := range kerneltest.Weights {
		b.Run(fmt.Sprint(d), func(b *testing.B) {
			raw := kerneltest.Raw(kerneltest.Rand(12), d, out*in)
			n, _ := PackedBytes(d, out, in)
			dst := aligned(int(n))
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if err := PackTo(q, dst, d, out, in, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
