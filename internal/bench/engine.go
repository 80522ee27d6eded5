package main

import (
	"context"
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/model/weights"
)

// engine computes with a whole model in this process, as a node that hosts all
// blocks and its client do together, without the network between them.
type engine struct {
	file    *weights.Checkpoint
	span    *model.Span
	ends    *model.Ends
	queue   *device.Queue
	cache   *model.Cache
	branch  *model.Branch
	hidden  []float32 // [chunk, d]
	logits  []float32 // [V] of the last position
	wire    inference.WireDType
	sampler sample.Sampler
}

// chunk is the most positions of a pass, as sessions have it by default.
const chunk = 512

// newEngine loads a model as a node and a client do: its weights packed, from the
// cache. exact keeps activations, KV and what passes between blocks in float32.
func newEngine(path string, threads, positions int, exact bool) (*engine, error) {
	c, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	spec, err := model.ReadSpec(c)
	if err != nil {
		return nil, err
	}
	e := &engine{file: c, queue: device.NewQueue(threads), wire: inference.WireBF16}
	var n inference.Numerics
	if exact {
		n = inference.Numerics{Activations: inference.ActivationsF32, KV: inference.KVF32}
		e.wire = inference.WireF32
	}
	kv := n.WithDefaults().KV
	cache := catalog.CacheDir()
	manifest, err := c.Manifest(context.Background(), cache, nil)
	if err != nil {
		return nil, err
	}
	from := model.Source{Checkpoint: c, Cache: cache, Digest: manifest.Digest(), Workers: threads, Activations: n.Activations}
	if e.span, err = from.Span(context.Background(), inference.BlockRange{Start: 0, End: spec.Layers}); err != nil {
		return nil, err
	}
	if e.ends, err = from.Ends(context.Background()); err != nil {
		return nil, err
	}
	pages := (positions + model.PagePositions - 1) / model.PagePositions * spec.Layers
	if e.cache, err = e.span.NewCache(int64(pages)*model.PageBytes(spec, kv), kv); err != nil {
		return nil, err
	}
	e.branch = e.cache.NewBranch(e.span.Blocks())
	e.hidden = make([]float32, chunk*spec.Hidden)
	e.logits = make([]float32, e.ends.Vocab())
	return e, nil
}

// forward computes ids, at most chunk of them, after what the branch holds and
// returns their hidden states [n, d].
func (e *engine) forward(ids []inference.TokenID) (tensor.Buffer, error) {
	d, at := e.span.Hidden(), e.branch.Len()
	x := tensor.Of(e.hidden[:len(ids)*d], len(ids), d)
	if err := e.ends.Embed(e.queue, x, ids, e.wire); err != nil {
		return x, err
	}
	if err := e.branch.Grow(at + len(ids)); err != nil {
		return x, err
	}
	return x, e.span.Forward(e.queue, x, model.Pass{
		Role: e.span.Blocks(), Wire: e.wire,
		Segments: []model.Segment{{Branch: e.branch, Start: at, N: len(ids)}},
	})
}

// append computes ids and returns the likeliest token after them.
func (e *engine) append(ids []inference.TokenID) (inference.TokenID, error) {
	for len(ids) > chunk {
		if _, err := e.forward(ids[:chunk]); err != nil {
			return 0, err
		}
		ids = ids[chunk:]
	}
	x, err := e.forward(ids)
	if err != nil {
		return 0, err
	}
	if err := e.ends.Head(e.queue, tensor.Of(e.logits, 1, len(e.logits)), x.Slice(x.Rows-1, x.Rows)); err != nil {
		return 0, err
	}
	return e.sampler.Sample(e.logits, &sample.Params{}, sample.History{}, e.branch.Len(), 0).ID, nil
}

// each computes ids and calls f with the logits after each of them.
func (e *engine) each(ids []inference.TokenID, f func(logits []float32) error) error {
	for len(ids) > 0 {
		n := min(len(ids), chunk)
		x, err := e.forward(ids[:n])
		if err != nil {
			return err
		}
		for i := range n {
			if err := e.ends.Head(e.queue, tensor.Of(e.logits, 1, len(e.logits)), x.Slice(i, i+1)); err != nil {
				return err
			}
			if err := f(e.logits); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

// decode generates n tokens after id and returns the time, and the longest of
// a single one.
func (e *engine) decode(id inference.TokenID, n int) (took, longest time.Duration, err error) {
	begin := time.Now()
	last := begin
	one := make([]inference.TokenID, 1)
	for range n {
		one[0] = id
		if id, err = e.append(one); err != nil {
			return 0, 0, err
		}
		now := time.Now()
		last, longest = now, max(longest, now.Sub(last))
	}
	return last.Sub(begin), longest, nil
}

// work is what one pass over a model costs: bytes of weights that a token reads
// and operations that a prompt's position takes, the head apart.
type work struct {
	bytes      float64 // blocks and head
	operations float64 // blocks; a product and an addition are two
}

// workOf reads it off the tensors of a file.
func workOf(path string) (w work, err error) {
	c, err := weights.Open(path)
	if err != nil {
		return w, err
	}
	defer c.Close()
	_, untied := c.Tensor("output.weight")
	for _, t := range c.Tensors() {
		if t.Name == "token_embd.weight" && untied {
			continue // of which a token reads a row
		}
		w.bytes += float64(t.Size)
		if len(t.Shape) == 2 && t.Name != "token_embd.weight" && t.Name != "output.weight" {
			w.operations += 2 * float64(t.Shape[0]) * float64(t.Shape[1])
		}
	}
	if w.bytes == 0 {
		return w, fmt.Errorf("%s has no tensors", path)
	}
	return w, nil
}

// someIDs returns n ids of no meaning, other ones for another salt.
func someIDs(n, salt int) []inference.TokenID {
	ids := make([]inference.TokenID, n)
	for i := range ids {
		ids[i] = inference.TokenID(300 + (37*i+101*salt)%20000)
	}
	return ids
}
