package model

import (
	"fmt"
	"math"

	"github.com/farlabs/inference/kernels/attention"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/matmul"
	"github.com/farlabs/inference/kernels/rope"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
)

// gqa is causal attention in which groups of query heads share a key and value
// head.
type gqa struct {
	q, k, v     *matmul.Weights  // [H·D, d], [K·D, d] twice
	o           *matmul.Weights  // [d, H·D]
	shape       attention.Params // but for KV, which the pass brings
	style       rope.Style
	frequencies []float32 // [R/2]
	numerics    matmul.Activations
}

func loadGQA(l *loader, s *arch.Spec, r arch.Rope, t *arch.BlockTensors, frequencies []float32) (m gqa, err error) {
	if s.HeadDim > attention.MaxHeadDim {
		return m, fmt.Errorf("%s: heads of %d, wider than %d: %w", l.from.Path(), s.HeadDim, attention.MaxHeadDim, arch.ErrUnsupported)
	}
	m.shape = attention.Params{
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(s.HeadDim))),
	}
	m.style = rope.Half
	if r.Style == arch.RopeInterleaved {
		m.style = rope.Interleaved
	}
	m.frequencies, m.numerics = frequencies, l.numerics
	for _, w := range []struct {
		to   **matmul.Weights
		from arch.Tensor
	}{{&m.q, t.Q}, {&m.k, t.K}, {&m.v, t.V}, {&m.o, t.O}} {
		if *w.to, err = l.matrix(w.from); err != nil {
			return m, err
		}
	}
	return m, nil
}

// forward changes x [n, d] to the mixer's output.
func (m *gqa) forward(q *device.Queue, x tensor.Buffer, a *activations, w *scratch) {
	matmul.Linear(q, x, m.numerics,
		matmul.Product{Dst: a.q, W: m.q}, matmul.Product{Dst: a.k, W: m.k}, matmul.Product{Dst: a.v, W: m.v})
	angles := w.anglesOf(q, m.frequencies)
	rope.Rotate(q, a.q, m.shape.Heads, m.shape.HeadDim, angles, m.style)
	rope.Rotate(q, a.k, m.shape.KVHeads, m.shape.HeadDim, angles, m.style)
	shape := m.shape
	shape.KV = w.kv
	attention.Store(q, a.k, a.v, shape, w.segments)
	attention.Causal(q, a.mixed, a.q, shape, w.segments)
	matmul.Linear(q, a.mixed, m.numerics, matmul.Product{Dst: x, W: m.o})
}
