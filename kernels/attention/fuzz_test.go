package attention

import (
	"fmt"
	"math"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
)

// FuzzImplementationsAgree runs shapes of the fuzzer's choice on every set that
// this machine has: the bits are those of plain Go.
func FuzzImplementationsAgree(f *testing.F) {
	f.Add(uint64(1), uint8(8), uint8(1), uint16(64), uint16(0), uint16(33), uint8(9), uint8(0), uint8(2))
	f.Add(uint64(2), uint8(7), uint8(2), uint16(80), uint16(250), uint16(20), uint8(3), uint8(7), uint8(3))
	f.Add(uint64(3), uint8(5), uint8(1), uint16(17), uint16(511), uint16(2), uint8(200), uint8(2), uint8(1))
	f.Add(uint64(4), uint8(1), uint8(3), uint16(256), uint16(700), uint16(1), uint8(0), uint8(5), uint8(2))
	f.Fuzz(func(t *testing.T, seed uint64, group, kvHeads uint8, dim, start, n uint16, window, behaviour, workers uint8) {
		r := kerneltest.Rand(seed)
		p := Params{KVHeads: int(kvHeads)%3 + 1, HeadDim: int(dim)%MaxHeadDim + 1, Scale: 0.1, Window: 3 * int(window)}
		p.Heads = p.KVHeads * (int(group)%10 + 1)
		p.KV = inference.KVF16 + inference.KVDType(behaviour%3)
		if behaviour&8 != 0 {
			p.Softcap = 0.5 + 30*r.Float32()
		}
		if behaviour&16 != 0 {
			p.Slopes = kerneltest.Floats(r, p.Heads)
		}
		past, rows := int(start)%600, int(n)%40
		b := newBranch(seed, p, past+rows)
		if behaviour&32 != 0 { // numbers that are none, tiny and huge
			for _, x := range [][]float32{b.q.F32(), b.k.F32(), b.v.F32()} {
				for range min(len(x), 3) {
					bits := []uint32{0x7f80_0000, 0xff80_0000, 0x7fc0_0001, 0x0000_0001, 0x7f7f_ffff, 0x8000_0000}
					x[r.IntN(len(x))] = math.Float32frombits(bits[r.IntN(len(bits))])
				}
			}
		}
		run := func(set device.KernelSet, workers int) []float32 {
			defer device.UseKernels(set)()
			q, dst, pg := queue(t, workers), kerneltest.Zeros(rows, b.q.Cols), pages(p, past+rows)
			Store(q, b.k, b.v, p, []Segment{{N: past + rows, Pages: pg}})
			Causal(q, dst, b.q.Slice(past, past+rows), p, []Segment{{N: rows, Start: past, Pages: pg}})
			return numbers(dst.F32())
		}
		want := run(device.Generic, 1)
		for _, set := range device.Supported() {
			kerneltest.Same(t, fmt.Sprintf("%s of %+v, positions %d+%d", set, p, past, rows), run(set, int(workers)%4+1), want)
		}
	})
}

// numbers makes all that is not a number the same.
func numbers(x []float32) []float32 {
	for i, v := range x {
		if v != v {
			x[i] = float32(math.NaN())
		}
	}
	return x
}
