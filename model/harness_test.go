package model

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/weights"
)

// stage is one span and the part of it that a chain uses.
type stage struct {
	span  *Span
	role  inference.BlockRange
	cache *Cache
}

// chain is a whole model in one process.
type chain struct {
	ends   *Ends
	stages []stage
	queue  *device.Queue
	wire   inference.WireDType
}

const testBudget = 256 << 20

// cut is one stage: the blocks it holds and those it serves.
type cut struct{ holds, serves inference.BlockRange }

func blocks(a, b int) inference.BlockRange { return inference.BlockRange{Start: a, End: b} }

// exact is the class that is compared with references.
var exact = inference.Numerics{Activations: inference.ActivationsF32, KV: inference.KVF32}

// newChain loads a model in stages. The spec is the file's where it is nil.
func newChain(tb testing.TB, c *weights.Checkpoint, spec *arch.Spec, wire inference.WireDType, n inference.Numerics, cuts ...cut) (*chain, error) {
	if spec == nil {
		var err error
		if spec, err = ReadSpec(c); err != nil {
			return nil, err
		}
	}
	n = n.WithDefaults()
	from := Source{Checkpoint: c, Activations: n.Activations}
	ends, err := from.ends(tb.Context(), spec)
	if err != nil {
		return nil, err
	}
	m := &chain{ends: ends, wire: wire, queue: device.NewQueue(2)}
	tb.Cleanup(m.queue.Close)
	for _, cut := range cuts {
		span, err := from.span(tb.Context(), spec, cut.holds)
		if err != nil {
			return nil, err
		}
		cache, err := span.NewCache(testBudget, n.KV)
		if err != nil {
			return nil, err
		}
		m.stages = append(m.stages, stage{span, cut.serves, cache})
	}
	return m, nil
}

// whole is an exact chain of one stage.
func whole(tb testing.TB, c *weights.Checkpoint, wire inference.WireDType) *chain {
	tb.Helper()
	spec, err := ReadSpec(c)
	if err != nil {
		tb.Fatal(err)
	}
	all := blocks(0, spec.Layers)
	m, err := newChain(tb, c, spec, wire, exact, cut{all, all})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// sequence is one session's branch at every stage.
type sequence struct{ branches []*Branch }

func (m *chain) sequence() *sequence {
	s := &sequence{}
	for _, st := range m.stages {
		s.branches = append(s.branches, st.cache.NewBranch(st.role))
	}
	return s
}

func (s *sequence) release() {
	for _, b := range s.branches {
		b.Release()
	}
}

// part is the next tokens of a sequence.
type part struct {
	seq *sequence
	ids []inference.TokenID
}

// pass runs one forward pass over the parts and returns the residual after the
// last block [Σids, d].
func (m *chain) pass(parts ...part) (tensor.Buffer, error) {
	var ids []inference.TokenID
	for _, p := range parts {
		ids = append(ids, p.ids...)
	}
	d := m.ends.Hidden()
	hidden := tensor.Of(make([]float32, len(ids)*d), len(ids), d)
	if err := m.ends.Embed(m.queue, hidden, ids, m.wire); err != nil {
		return hidden, err
	}
	for i, st := range m.stages {
		p := Pass{Role: st.role, Wire: m.wire}
		for _, q := range parts {
			b := q.seq.branches[i]
			if err := b.Grow(b.Len() + len(q.ids)); err != nil {
				return hidden, err
			}
			p.Segments = append(p.Segments, Segment{Branch: b, Start: b.Len(), N: len(q.ids)})
		}
		if err := st.span.Forward(m.queue, hidden, p); err != nil {
			return hidden, err
		}
	}
	return hidden, nil
}

// logits returns the logits of every row of hidden.
func (m *chain) logits(hidden tensor.Buffer) (tensor.Buffer, error) {
	v := m.ends.Vocab()
	out := tensor.Of(make([]float32, hidden.Rows*v), hidden.Rows, v)
	return out, m.ends.Head(m.queue, out, hidden)
}

// logProb returns the log-probability of id, and the id of the best.
func logProb(logits []float32, id inference.TokenID) (lp float64, best inference.TokenID) {
	for i, v := range logits {
		if v > logits[best] {
			best = inference.TokenID(i)
		}
	}
	var sum float64
	for _, v := range logits {
		sum += math.Exp(float64(v) - float64(logits[best]))
	}
	return float64(logits[id]-logits[best]) - math.Log(sum), best
}

// logProbs feeds ids in chunks and returns the log-probability of each but the
// first, and the last row's logits. The head sees the rows a chunk at a time.
func (m *chain) logProbs(seq *sequence, ids []inference.TokenID, chunk int) (lps []float64, last []float32, err error) {
	for at := 0; at < len(ids); at += chunk {
		n := min(chunk, len(ids)-at)
		hidden, err := m.pass(part{seq, ids[at : at+n]})
		if err != nil {
			return nil, nil, err
		}
		logits, err := m.logits(hidden)
		if err != nil {
			return nil, nil, err
		}
		for i := range n {
			last = logits.Row(i)
			if at+i+1 < len(ids) {
				lp, _ := logProb(last, ids[at+i+1])
				lps = append(lps, lp)
			}
		}
	}
	return lps, last, nil
}

func readJSON(tb testing.TB, path string, v any) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
}

// randomGolden is testdata/random.json.
type randomGolden struct {
	IDs    []inference.TokenID `json:"ids"`
	Small  reference           `json:"small"`
	Untied reference           `json:"untied"`
}

type reference struct {
	LogProbs   []float64 `json:"logprobs"`
	LastLogits []float64 `json:"last_logits"`
}

func readRandomGolden(tb testing.TB) (g randomGolden) {
	tb.Helper()
	readJSON(tb, "testdata/random.json", &g)
	return g
}

// models are the random models and their references.
func (g *randomGolden) models() []struct {
	name  string
	model modeltest.Llama
	want  reference
} {
	return []struct {
		name  string
		model modeltest.Llama
		want  reference
	}{{"small", modeltest.Small(), g.Small}, {"untied", modeltest.Untied(), g.Untied}}
}

// distance returns the largest difference between the reference's numbers and ours.
func (r *reference) distance(lps []float64, last []float32) (d float64) {
	if len(lps) != len(r.LogProbs) || len(last) != len(r.LastLogits) {
		return math.Inf(1)
	}
	worse := func(x float64) {
		if math.IsNaN(x) {
			x = math.Inf(1)
		}
		d = max(d, math.Abs(x))
	}
	for i, v := range r.LogProbs {
		worse(v - lps[i])
	}
	for i, v := range r.LastLogits {
		worse(v - float64(last[i]))
	}
	return d
}
