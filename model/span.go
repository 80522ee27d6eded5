package model

import (
	"fmt"
	"sync"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/rope"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/weights"
)

// Span is the consecutive blocks of a model that one process computes. Its
// methods may be called by several goroutines at once.
type Span struct {
	spec   *arch.Spec
	blocks inference.BlockRange
	layers []block
	bytes  int64
	pool   *tensor.Pool // activations of running passes

	mu      sync.Mutex
	scratch []*scratch // idle
}

// LoadSpan maps the tensors of some blocks of a checkpoint and no others. The
// span borrows from c, which stays open as long as the span is used. Errors
// name the file and the tensor; see [arch.FromGGUF].
func LoadSpan(c *weights.Checkpoint, blocks inference.BlockRange) (*Span, error) {
	spec, err := ReadSpec(c)
	if err != nil {
		return nil, err
	}
	return loadSpan(c, spec, blocks)
}

// loadSpan is LoadSpan for a Spec that the caller vouches for.
func loadSpan(c *weights.Checkpoint, spec *arch.Spec, blocks inference.BlockRange) (*Span, error) {
	if err := spec.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path(), err)
	}
	if err := blocks.Validate(); err != nil {
		return nil, err
	}
	if blocks.End > spec.Layers {
		return nil, fmt.Errorf("%s: blocks %s of a model that has %d: %w",
			c.Path(), blocks, spec.Layers, inference.ErrInvalid)
	}
	l := &loader{from: c, queue: device.NewQueue(0)}
	defer l.queue.Close()
	var factors []float32
	if spec.Names.RopeFactors != "" {
		var err error
		if factors, err = l.vector(spec.RopeFactors()); err != nil {
			return nil, err
		}
		for _, f := range factors {
			if !(f > 0) { // NaN too
				return nil, fmt.Errorf("%s: tensor %s holds %g: %w", c.Path(), spec.Names.RopeFactors, f, arch.ErrMalformed)
			}
		}
	}
	s := &Span{spec: spec, blocks: blocks}
	frequencies := map[arch.Rope][]float32{} // blocks that rotate alike share them
	for i := blocks.Start; i < blocks.End; i++ {
		r := spec.Layer(i).Rope
		if frequencies[r] == nil {
			frequencies[r] = rope.Frequencies(r.Dims, r.Theta, factors)
		}
		b, err := loadBlock(l, spec, i, frequencies[r])
		if err != nil {
			return nil, err
		}
		s.layers = append(s.layers, b)
	}
	s.bytes = l.bytes
	const rows = 512 // a prompt chunk
	s.pool = tensor.NewPool(8 * rows * activationWidth(spec))
	return s, nil
}

// activationWidth returns how many floats a row needs while a block runs.
func activationWidth(s *arch.Spec) int64 {
	return int64(s.Hidden + (2*s.Heads+2*s.KVHeads)*s.HeadDim + 2*s.FFN)
}

// Spec returns the model's description. It must not be changed.
func (s *Span) Spec() *arch.Spec { return s.spec }

// Blocks returns the blocks of the span.
func (s *Span) Blocks() inference.BlockRange { return s.blocks }

// Hidden returns the width of the residual stream, d.
func (s *Span) Hidden() int { return s.spec.Hidden }

// WeightBytes returns the size of the span's tensors in the checkpoint.
func (s *Span) WeightBytes() int64 { return s.bytes }
