package wire

import (
	"bytes"
	"testing"

	"github.com/farlabs/inference/kernels/tensor"
)

// A decoded token of a model with d = 576 in bf16, three hops behind it.
func tokenFrame() Frame {
	return Frame{
		Message: &Step{Epoch: 1, Seq: 1000, Payload: PayloadHidden, Rows: []Row{{Start: 1000, N: 1}}, Times: make([]HopTime, 3)},
		Payload: tensor.Buffer{Data: make([]byte, 1152)},
	}
}

func BenchmarkAppend(b *testing.B) {
	f := tokenFrame()
	buf := f.Append(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0])
	}
}

func BenchmarkReader(b *testing.B) {
	f := tokenFrame()
	stream := f.Append(nil)
	pool := tensor.NewPool(1 << 20)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	src := bytes.NewReader(nil)
	r := NewReader(src, func(_ Message, n int) (tensor.Buffer, error) { return pool.Get(tensor.I8, 1, n), nil })
	for b.Loop() {
		src.Reset(stream)
		f, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		f.Release()
	}
}
