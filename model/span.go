package model

import (
	"context"
	"fmt"
	"sync"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/rope"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
)

// Span is the consecutive blocks of a model that one process computes. Its
// methods may be called by several goroutines at once.
type Span struct {
	spec   *arch.Spec
	blocks inference.BlockRange
	layers []block
	bytes  int64
	heap   int64
	pool   *tensor.Pool // activations of running passes

	mu      sync.Mutex
	scratch []*scratch // idle
}

// span is Span for a Spec that the caller vouches for.
func (s Source) span(ctx context.Context, spec *arch.Spec, blocks inference.BlockRange) (*Span, error) {
	c := s.Checkpoint
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
	l := s.loader()
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
	groups := make([]group, 0, blocks.Len())
	for i := blocks.Start; i < blocks.End; i++ {
		groups = append(groups, blockGroup(spec, i))
	}
	if err := s.matrices(ctx, l, true, groups...); err != nil {
		return nil, err
	}
	span := &Span{spec: spec, blocks: blocks, heap: l.stats.Heap}
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
		span.layers = append(span.layers, b)
	}
	span.bytes = l.bytes
	const rows = 512 // a prompt chunk
	span.pool = tensor.NewPool(8 * rows * activationWidth(spec))
	return span, nil
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

// WeightBytes returns the size of the span's weights in memory, packed.
func (s *Span) WeightBytes() int64 { return s.bytes }

// HeapBytes returns how many of them lie on Go's heap: none, where the system
// can map files.
func (s *Span) HeapBytes() int64 { return s.heap }
