package matmul

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/tensor"
)

// TestPreparedActivationsAreTheSameOnEverySet compares what kernels read: one
// set may prepare what another multiplies.
func TestPreparedActivationsAreTheSameOnEverySet(t *testing.T) {
	r := kerneltest.Rand(20)
	for blocks := range 19 {
		x := kerneltest.Bits(kerneltest.Bytes(kerneltest.Floats(r, blocks*blockLen)))
		for i := range x {
			switch r.IntN(8 * blockLen) {
			case 0:
				x[i] = kerneltest.Special[r.IntN(len(kerneltest.Special))]
			case 1:
				x[i] *= 1e-38
			}
		}
		comparePrepared(t, x)
	}
}

// comparePrepared prepares x, whole blocks, with every set.
func comparePrepared(t *testing.T, x []float32) {
	t.Helper()
	const apart = 3 // columns
	for act, generic := range sets[device.Generic] {
		prepared := func(f form) []byte {
			mem := aligned(max(len(x)/blockLen, 1) * apart * f.size)
			f.prepare(unsafe.Pointer(&mem[0]), apart*f.size, x)
			return mem
		}
		want := prepared(generic)
		kerneltest.EachSet(func(impl string) {
			got := prepared(sets[device.Kernels()][act])
			for i := range got {
				if got[i] != want[i] && !sumIsNaN(Activations(act), got, want, i) {
					b := i / (apart * generic.size) * blockLen
					t.Fatalf("%s, %s: byte %d: %#x, want %#x; of %v", Activations(act), impl, i, got[i], want[i], x[b:b+blockLen])
				}
			}
		})
	}
}

// sumIsNaN reports that byte i is of a sum that is a NaN in both: which one it
// is, is the processor's choice.
func sumIsNaN(act Activations, a, b []byte, i int) bool {
	at := i / f32Size * f32Size
	if act != F32 || i-at < 128 || i-at >= 132 {
		return false
	}
	v, w := (*f32Block)(unsafe.Pointer(&a[at])).sum, (*f32Block)(unsafe.Pointer(&b[at])).sum
	return v != v && w != w
}

// FuzzEverySetGivesTheSameProducts multiplies any activations by any packed
// memory.
func FuzzEverySetGivesTheSameProducts(f *testing.F) {
	for i, d := range kerneltest.Weights {
		f.Add(uint8(d), uint8(7*i+1), uint8(i), uint8(3*i+1), []byte("\x07\x91\x22\x33\x44\x95\xa6\x77\x28\x99\x1a"), kerneltest.Bytes(kerneltest.Special))
	}
	f.Add(uint8(tensor.Q8_0), uint8(32), uint8(2), uint8(1), []byte{0}, kerneltest.Bytes([]float32{1}))     // codes of −128
	f.Add(uint8(tensor.Q6_K), uint8(32), uint8(0), uint8(4), []byte{255}, kerneltest.Bytes([]float32{-1}))  // the greatest codes
	f.Add(uint8(tensor.Q5_1), uint8(16), uint8(1), uint8(2), []byte{0x7b}, kerneltest.Bytes([]float32{-1})) // large scales
	q := queue(f, 1)
	f.Fuzz(func(t *testing.T, dtype, out, in, rows uint8, fill, floats []byte) {
		d, n := tensor.DType(dtype), int(rows%26)
		size := max(d.BlockElems(), 1) * (int(in)%3 + 1)
		if d.BlockElems() == 1 {
			size = int(in)
		}
		bytes, err := PackedBytes(d, int(out%70), size)
		values := kerneltest.Bits(floats)
		if err != nil || len(fill) == 0 || len(values) == 0 {
			return
		}
		p := aligned(int(bytes))
		for i := range p {
			p[i] = fill[i%len(fill)] + byte(i/len(fill))*byte(len(fill)>>3&1)
		}
		w, err := Packed(d, int(out%70), size, p)
		if err != nil {
			t.Fatal(err)
		}
		x := kerneltest.Zeros(n, size)
		for i := range x.F32() {
			x.F32()[i] = values[i%len(values)]
		}
		if n > 0 {
			comparePrepared(t, x.Row(0)[:size/blockLen*blockLen])
		}
		for _, act := range forms(d) {
			var want []float32
			kerneltest.EachSet(func(impl string) {
				got := linear(q, x, act, w, nil).F32()
				if want == nil {
					want = got
				}
				kerneltest.Equal(t, fmt.Sprintf("%s, %s, %s [%d,%d]×[%d,%d]", impl, d, act, n, size, out%70, size), got, want)
			})
		}
	})
}
