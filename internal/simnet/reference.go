package simnet

import (
	"errors"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/sample"
)

// Reference computes with one span of all blocks, without any network: what
// every route has to come to, bit for bit.
type Reference struct {
	tb    testing.TB
	m     *Model
	span  *model.Span
	cache *model.Cache
	wire  inference.WireDType
}

// Reference returns a reference for sessions of a wire dtype.
func (m *Model) Reference(tb testing.TB, wire inference.WireDType) *Reference {
	tb.Helper()
	span, err := m.span(inference.BlockRange{Start: 0, End: m.Layers})
	if err != nil {
		tb.Fatal(err)
	}
	cache, err := span.NewCache(256<<20, inference.DefaultKV)
	if err != nil {
		tb.Fatal(err)
	}
	return &Reference{tb: tb, m: m, span: span, cache: cache, wire: wire}
}

// Branch is a sequence of the reference's.
type Branch struct {
	r *Reference
	b *model.Branch
}

// NewBranch returns an empty sequence. Release it.
func (r *Reference) NewBranch() *Branch {
	return &Branch{r, r.cache.NewBranch(r.span.Blocks())}
}

// Fork returns a branch of the first at positions.
func (b *Branch) Fork(at int) *Branch { return &Branch{b.r, b.b.Fork(at)} }

// Truncate forgets the positions from n on.
func (b *Branch) Truncate(n int) { b.b.Truncate(n) }

// Len returns the number of positions.
func (b *Branch) Len() int { return b.b.Len() }

// Release frees the branch.
func (b *Branch) Release() { b.b.Release() }

// Append computes ids and returns their hidden states [n, d] after the last block.
func (b *Branch) Append(ids []inference.TokenID) []float32 {
	b.r.tb.Helper()
	d, at := b.r.span.Hidden(), b.b.Len()
	x := tensor.Of(make([]float32, len(ids)*d), len(ids), d)
	err := errors.Join(
		b.r.m.Ends.Embed(b.r.m.queue, x, ids, b.r.wire),
		b.b.Grow(at+len(ids)),
		b.r.span.Forward(b.r.m.queue, x, model.Pass{
			Role: b.r.span.Blocks(), Wire: b.r.wire,
			Segments: []model.Segment{{Branch: b.b, Start: at, N: len(ids)}},
		}),
	)
	if err != nil {
		b.r.tb.Fatal(err)
	}
	return x.F32()
}

// Logits returns the logits [n, V] of hidden states [n, d].
func (r *Reference) Logits(hidden []float32) [][]float32 {
	r.tb.Helper()
	d, v := r.span.Hidden(), r.m.Ends.Vocab()
	n := len(hidden) / d
	out := make([]float32, n*v)
	if err := r.m.Ends.Head(r.m.queue, tensor.Of(out, n, v), tensor.Of(hidden, n, d)); err != nil {
		r.tb.Fatal(err)
	}
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = out[i*v : (i+1)*v]
	}
	return rows
}

// Generate returns the n tokens that follow ids on a branch.
func (r *Reference) Generate(ids []inference.TokenID, p sample.Params, branch uint32, n int) []inference.TokenID {
	r.tb.Helper()
	p.Vocab = min(r.m.Tokenizer.Size(), r.m.Ends.Vocab())
	b := r.NewBranch()
	defer b.Release()
	d := r.span.Hidden()
	h := b.Append(ids)
	h = h[len(h)-d:]
	var out []inference.TokenID
	for len(out) < n {
		pick := sample.Sample(r.Logits(h)[0], &p, sample.History{Prompt: ids, Generated: out}, len(ids)+len(out), branch)
		out = append(out, pick.ID)
		h = b.Append([]inference.TokenID{pick.ID})
	}
	return out
}
