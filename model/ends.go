package model

import (
	"context"
	"fmt"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/matmul"
	"github.com/farlabs/inference/kernels/norm"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
)

// Ends is what stands before the first block and after the last: embedding,
// final norm and head. Its methods may be called by several goroutines at once.
type Ends struct {
	spec  *arch.Spec
	embed *matmul.Weights // [V, d]
	norm  []float32       // [d]
	head  *matmul.Weights // [V, d]; embed where tied
	bytes int64
	heap  int64
	pool  *tensor.Pool

	numerics matmul.Activations
}

// ends is Ends for a Spec that the caller vouches for.
func (s Source) ends(ctx context.Context, spec *arch.Spec) (*Ends, error) {
	if err := spec.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Checkpoint.Path(), err)
	}
	const rows = 512
	e := &Ends{spec: spec, pool: tensor.NewPool(8 * rows * int64(spec.Hidden))}
	l := s.loader()
	e.numerics = l.numerics
	err := s.matrices(ctx, l, false, endsGroup(spec)) // an embedding is read by rows
	if err != nil {
		return nil, err
	}
	if e.embed, err = l.matrix(spec.Embed()); err != nil {
		return nil, err
	}
	if e.norm, err = l.vector(spec.FinalNorm()); err != nil {
		return nil, err
	}
	e.head = e.embed
	if !spec.Tied {
		if e.head, err = l.matrix(spec.Head()); err != nil {
			return nil, err
		}
	}
	e.bytes, e.heap = l.bytes, l.stats.Heap
	return e, nil
}

// Spec returns the model's description. It must not be changed.
func (e *Ends) Spec() *arch.Spec { return e.spec }

// Hidden returns the width of the residual stream, d.
func (e *Ends) Hidden() int { return e.spec.Hidden }

// Vocab returns the number of logits, V. It may exceed the tokenizer's size.
func (e *Ends) Vocab() int { return e.spec.Vocab }

// WeightBytes returns the size of the ends' weights in memory, packed.
func (e *Ends) WeightBytes() int64 { return e.bytes }

// HeapBytes returns how many of them lie on Go's heap: none, where the system
// can map files.
func (e *Ends) HeapBytes() int64 { return e.heap }

// Embed fills dst [len(ids), d] F32 with the tokens' vectors, rounded to wire.
// It waits for the queue.
func (e *Ends) Embed(q *device.Queue, dst tensor.Buffer, ids []inference.TokenID, wire inference.WireDType) error {
	if wire != inference.WireF32 && wire != inference.WireBF16 {
		return fmt.Errorf("embed: %s is not computed: %w", wire, inference.ErrInvalid)
	}
	if err := e.shape("embed: result", dst, len(ids), e.spec.Hidden); err != nil {
		return err
	}
	for i, id := range ids {
		if id < 0 || int(id) >= e.spec.Vocab {
			return fmt.Errorf("embed: token %d of a vocabulary of %d: %w", id, e.spec.Vocab, inference.ErrInvalid)
		}
		e.embed.Row(dst.Row(i), int(id))
	}
	round(q, dst, wire)
	return q.Wait()
}

// Head makes the logits dst [n, V] F32 of hidden [n, d] F32, rows of the last
// block. It computes every row given: pass only those whose logits are wanted.
// It waits for the queue.
func (e *Ends) Head(q *device.Queue, dst, hidden tensor.Buffer) error {
	if err := e.shape("head: hidden", hidden, hidden.Rows, e.spec.Hidden); err != nil {
		return err
	}
	if err := e.shape("head: logits", dst, hidden.Rows, e.spec.Vocab); err != nil {
		return err
	}
	normed := e.pool.Get(tensor.F32, hidden.Rows, hidden.Cols)
	defer normed.Release()
	norm.RMS(q, normed, hidden, e.norm, e.spec.NormEps)
	matmul.Linear(q, normed, e.numerics, matmul.Product{Dst: dst, W: e.head})
	return q.Wait()
}

func (e *Ends) shape(what string, b tensor.Buffer, rows, cols int) error {
	if b.DType != tensor.F32 || b.Rows != rows || b.Cols != cols {
		return fmt.Errorf("%s is [%d, %d] %s, want [%d, %d] F32: %w",
			what, b.Rows, b.Cols, b.DType, rows, cols, inference.ErrInvalid)
	}
	return nil
}
