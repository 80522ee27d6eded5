// Package modeltest makes small random models for tests: [Llama] describes one,
// its Write puts a GGUF file of a few hundred KiB on disk, with a byte-level
// tokenizer and a chat template, so that everything from text to text runs.
//
// Weights are a function of the tensor's name and the index alone, written the
// same way in model/testdata/golden.py, so that an independent implementation
// computes with the very same model. No program imports the package.
package modeltest

import (
	"hash/fnv"
	"math"
	"path/filepath"
	"testing"

	"github.com/farlabs/inference/model/weights"
	"github.com/farlabs/inference/model/weights/gguftest"
)

// Llama describes a random model of the llama family, of F32 weights unless
// Quantised.
type Llama struct {
	Layers, Hidden, Heads, KVHeads, HeadDim, RopeDims, FFN, Vocab, Context int

	RopeTheta float32
	NormEps   float32

	Untied      bool // has a head of its own
	RopeFactors bool // has rope_freqs.weight
	Quantised   bool // has matrices of Q8_0
}

// Small is six blocks with a tied head.
func Small() Llama {
	return Llama{
		Layers: 6, Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, RopeDims: 16, FFN: 160, Vocab: 272, Context: 2048,
		RopeTheta: 10000, NormEps: 1e-5,
	}
}

// Untied differs from Small wherever a llama file can: its own head, rotation
// factors, heads whose widths do not add up to the residual's, and which rotate
// in part.
func Untied() Llama {
	m := Small()
	m.HeadDim, m.RopeDims, m.KVHeads = 24, 16, 1
	m.RopeTheta, m.NormEps = 500000, 1e-3
	m.Untied, m.RopeFactors = true, true
	return m
}

// Quantised is Small with matrices of Q8_0, which int8 activations meet.
func Quantised() Llama {
	m := Small()
	m.Quantised = true
	return m
}

// Write writes the model to path.
func (m Llama) Write(path string) error { return gguftest.Write(path, m.Metadata(), m.Tensors()) }

// Open writes the model into a directory of the test and opens it; the test's
// end closes it.
func (m Llama) Open(tb testing.TB) *weights.Checkpoint {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "random.gguf")
	if err := m.Write(path); err != nil {
		tb.Fatal(err)
	}
	c, err := weights.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// Tensors returns the weights, rows of q and k permuted as GGUF has them.
func (m Llama) Tensors() []gguftest.Tensor {
	d, q, kv := m.Hidden, m.Heads*m.HeadDim, m.KVHeads*m.HeadDim
	list := []gguftest.Tensor{
		tensorOf("token_embd.weight", 0, 1, m.Vocab, d),
		tensorOf("output_norm.weight", 1, 0.25, d),
	}
	if m.Untied {
		list = append(list, matrix("output.weight", 3, m.Vocab, d))
	}
	if m.RopeFactors {
		list = append(list, tensorOf("rope_freqs.weight", 2.5, 1.5, m.RopeDims/2))
	}
	for i := range m.Layers {
		b := "blk." + itoa(i) + "."
		list = append(list,
			tensorOf(b+"attn_norm.weight", 1, 0.25, d),
			matrix(b+"attn_q.weight", 2, q, d), // scores wide enough for attention to choose
			matrix(b+"attn_k.weight", 2, kv, d),
			matrix(b+"attn_v.weight", 1, kv, d),
			matrix(b+"attn_output.weight", 1, d, q),
			tensorOf(b+"ffn_norm.weight", 1, 0.25, d),
			matrix(b+"ffn_gate.weight", 1, m.FFN, d),
			matrix(b+"ffn_up.weight", 1, m.FFN, d),
			matrix(b+"ffn_down.weight", 1, d, m.FFN),
		)
	}
	if m.Quantised {
		for i, t := range list {
			if len(t.Shape) == 2 {
				list[i] = gguftest.Q8_0(t)
			}
		}
	}
	return list
}

// matrix has weights of standard deviation gain/√in.
func matrix(name string, gain float64, out, in int) gguftest.Tensor {
	return tensorOf(name, 0, float32(gain*math.Sqrt(3/float64(in))), out, in)
}

// tensorOf has weights spread evenly over mean ± width.
func tensorOf(name string, mean, width float32, shape ...int) gguftest.Tensor {
	n := 1
	for _, s := range shape {
		n *= s
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	seed, w := h.Sum64(), make([]float32, n)
	for i := range w {
		u := float32(int64(splitmix(seed, uint64(i))>>40)-1<<23) / (1 << 23) // exact, in [−1, 1)
		w[i] = mean + float32(width*u)
	}
	return gguftest.F32(name, w, shape...)
}

// splitmix returns number i of the generator of that name (Steele, Lea and
// Flood, "Fast splittable pseudorandom number generators", 2014).
func splitmix(seed, i uint64) uint64 {
	z := seed + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
