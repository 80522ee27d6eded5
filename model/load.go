package model

import (
	"fmt"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/matmul"
	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/weights"
)

// ReadSpec returns the Spec of a checkpoint; see [arch.FromGGUF] for errors. It
// reads no tensor data.
func ReadSpec(c *weights.Checkpoint) (*arch.Spec, error) { return arch.FromGGUF(metadata{c}) }

// metadata shows a checkpoint to package arch.
type metadata struct{ *weights.Checkpoint }

// Tensors returns names and shapes.
func (m metadata) Tensors() []arch.Tensor {
	list := m.Checkpoint.Tensors()
	out := make([]arch.Tensor, len(list))
	for i, t := range list {
		out[i] = arch.Tensor{Name: t.Name, Shape: t.Shape}
	}
	return out
}

// loader takes tensors out of a checkpoint, checking each against the Spec.
type loader struct {
	from  *weights.Checkpoint
	queue *device.Queue // packs matrices
	bytes int64         // of the tensors taken, as stored
}

// data maps one tensor. It borrows from the checkpoint.
func (l *loader) data(want arch.Tensor) (weights.Tensor, []byte, error) {
	t, ok := l.from.Tensor(want.Name)
	if !ok {
		return t, nil, fmt.Errorf("%s: tensor %q is missing: %w", l.from.Path(), want.Name, arch.ErrMalformed)
	}
	if err := arch.SameShape(l.from.Path(), want, t.Shape); err != nil {
		return t, nil, err
	}
	raw, err := l.from.Data(want.Name)
	if err != nil {
		return t, nil, err // names both
	}
	l.bytes += int64(len(raw))
	return t, raw, nil
}

// matrix returns a matrix [out, in], packed.
func (l *loader) matrix(want arch.Tensor) (*matmul.Weights, error) {
	t, raw, err := l.data(want)
	if err != nil {
		return nil, err
	}
	w, err := matmul.Pack(l.queue, t.DType, want.Shape[0], want.Shape[1], raw)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %s: %w", l.from.Path(), want.Name, err)
	}
	return w, nil
}

// vector returns a copy of a tensor [n] in float32.
func (l *loader) vector(want arch.Tensor) ([]float32, error) {
	t, raw, err := l.data(want)
	if err != nil {
		return nil, err
	}
	v := make([]float32, want.Shape[0])
	if err := quant.Dequantize(v, t.DType, raw); err != nil {
		return nil, fmt.Errorf("%s: tensor %s: %w", l.from.Path(), want.Name, err)
	}
	return v, nil
}

// BlockBytes returns the size of each block's tensors in the checkpoint, by
// block, without reading any: what a node plans with before it loads a span.
func BlockBytes(c *weights.Checkpoint, s *arch.Spec) []int64 {
	bytes := make([]int64, s.Layers)
	for i := range bytes {
		b := s.BlockTensors(i)
		for _, want := range b.List() {
			t, _ := c.Tensor(want.Name)
			bytes[i] += t.Size
		}
	}
	return bytes
}

// PageBytes returns the size of a KV page: 16 positions of one block.
func PageBytes(s *arch.Spec, kv inference.KVDType) int64 {
	return int64(attention.PageBytes(kv, s.KVHeads, s.HeadDim))
}
