package model

import (
	"fmt"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/elementwise"
	"github.com/farlabs/inference/kernels/matmul"
	"github.com/farlabs/inference/kernels/norm"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
)

// block is one transformer block: h = x + mixer(norm(x)), x' = h + mlp(norm(h)).
// It enqueues ops and never touches an element.
type block struct {
	attnNorm []float32 // [d]
	gqa      gqa
	mlpNorm  []float32       // [d]
	gate, up *matmul.Weights // [FFN, d]
	down     *matmul.Weights // [d, FFN]
	eps      float32
	numerics matmul.Activations
}

// activations are the rows of one running pass beside the residual.
type activations struct {
	normed   tensor.Buffer // [n, d]; a sublayer's input, then its output
	q, mixed tensor.Buffer // [n, H·D]
	k, v     tensor.Buffer // [n, K·D]
	gate, up tensor.Buffer // [n, FFN]
}

func loadBlock(l *loader, s *arch.Spec, i int, frequencies []float32) (b block, err error) {
	// Validate has let nothing else through; this says so where it is computed.
	layer := s.Layer(i)
	if layer.Norm != arch.NormRMS || layer.Mixer != arch.MixerGQA || layer.MLP != arch.MLPGatedSiLU {
		return b, fmt.Errorf("block %d of family %s: %w", i, s.Family, arch.ErrUnsupported)
	}
	t := s.BlockTensors(i)
	b.eps, b.numerics = s.NormEps, l.numerics
	if b.attnNorm, err = l.vector(t.AttnNorm); err != nil {
		return b, err
	}
	if b.gqa, err = loadGQA(l, s, layer.Rope, &t, frequencies); err != nil {
		return b, err
	}
	if b.mlpNorm, err = l.vector(t.MLPNorm); err != nil {
		return b, err
	}
	if b.gate, err = l.matrix(t.Gate); err != nil {
		return b, err
	}
	if b.up, err = l.matrix(t.Up); err != nil {
		return b, err
	}
	b.down, err = l.matrix(t.Down)
	return b, err
}

// forward changes x [n, d] to the block's output.
func (b *block) forward(q *device.Queue, x tensor.Buffer, a *activations, w *scratch) {
	norm.RMS(q, a.normed, x, b.attnNorm, b.eps)
	b.gqa.forward(q, a.normed, a, w)
	elementwise.Add(q, x, a.normed)

	norm.RMS(q, a.normed, x, b.mlpNorm, b.eps)
	matmul.Linear(q, a.normed, b.numerics, matmul.Product{Dst: a.gate, W: b.gate}, matmul.Product{Dst: a.up, W: b.up})
	elementwise.GateSiLU(q, a.gate, a.gate, a.up)
	matmul.Linear(q, a.gate, b.numerics, matmul.Product{Dst: a.normed, W: b.down})
	elementwise.Add(q, x, a.normed)
}

// round rounds the residual to what travels. Every block boundary does it, also
// inside a span, so that cutting the model elsewhere changes nothing.
func round(q *device.Queue, x tensor.Buffer, wire inference.WireDType) {
	if wire == inference.WireBF16 {
		elementwise.RoundBF16(q, x)
	}
}

func (s *Span) activations(n int) activations {
	get := func(cols int) tensor.Buffer { return s.pool.Get(tensor.F32, n, cols) }
	h, k := s.spec.Heads*s.spec.HeadDim, s.spec.KVHeads*s.spec.HeadDim
	return activations{
		normed: get(s.spec.Hidden),
		q:      get(h), mixed: get(h),
		k: get(k), v: get(k),
		gate: get(s.spec.FFN), up: get(s.spec.FFN),
	}
}

func (a *activations) release() {
	a.normed.Release()
	a.q.Release()
	a.mixed.Release()
	a.k.Release()
	a.v.Release()
	a.gate.Release()
	a.up.Release()
}
