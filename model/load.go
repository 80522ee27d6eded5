package model

import (
	"fmt"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/attention"
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
	from     *weights.Checkpoint
	numerics matmul.Activations
	packed   map[string][]byte // matrices, by name
	stats    weights.PackStats
	bytes    int64 // of the tensors taken, as they are held
}

// tensor finds a tensor.
func (l *loader) tensor(want arch.Tensor) (weights.Tensor, error) {
	t, ok := l.from.Tensor(want.Name)
	if !ok {
		return t, fmt.Errorf("%s: tensor %q is missing: %w", l.from.Path(), want.Name, arch.ErrMalformed)
	}
	return t, arch.SameShape(l.from.Path(), want, t.Shape)
}

func (l *loader) fail(want arch.Tensor, err error) error {
	return fmt.Errorf("%s: tensor %s: %w", l.from.Path(), want.Name, err)
}

// matrix returns a matrix [out, in], packed.
func (l *loader) matrix(want arch.Tensor) (*matmul.Weights, error) {
	t, err := l.tensor(want)
	if err != nil {
		return nil, err
	}
	w, err := matmul.Packed(t.DType, want.Shape[0], want.Shape[1], l.packed[want.Name])
	if err != nil {
		return nil, l.fail(want, err)
	}
	l.bytes += w.Bytes()
	return w, nil
}

// vector returns a copy of a tensor [n] in float32.
func (l *loader) vector(want arch.Tensor) ([]float32, error) {
	t, err := l.tensor(want)
	if err != nil {
		return nil, err
	}
	raw, err := l.from.Data(want.Name)
	if err != nil {
		return nil, err // names both
	}
	v := make([]float32, want.Shape[0])
	if err := quant.Dequantize(v, t.DType, raw); err != nil {
		return nil, l.fail(want, err)
	}
	l.bytes += vectorBytes(want)
	return v, nil
}

// vectorBytes is the size of a vector in memory, float32.
func vectorBytes(t arch.Tensor) int64 { return 4 * int64(t.Shape[0]) }

// BlockBytes returns the size of each block's weights in memory, matrices
// packed, by block, without reading any: what a node plans with before it loads
// a span.
func BlockBytes(c *weights.Checkpoint, s *arch.Spec) []int64 {
	bytes := make([]int64, s.Layers)
	for i := range bytes {
		b := s.BlockTensors(i)
		for _, want := range b.List() {
			if len(want.Shape) != 2 {
				bytes[i] += vectorBytes(want)
				continue
			}
			t, _ := c.Tensor(want.Name)
			n, err := matmul.PackedBytes(t.DType, want.Shape[0], want.Shape[1])
			if err != nil {
				n = t.Size // loading says what is wrong with it
			}
			bytes[i] += n
		}
	}
	return bytes
}

// PageBytes returns the size of a KV page: 16 positions of one block.
func PageBytes(s *arch.Spec, kv inference.KVDType) int64 {
	return int64(attention.PageBytes(kv, s.KVHeads, s.HeadDim))
}
