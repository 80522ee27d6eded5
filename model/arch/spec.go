package arch

import (
	"fmt"
	"math"
	"strings"

	inference "github.com/farlabs/inference"
)

// Spec describes one model. A family's literal sets the behaviours and the
// names, the file the sizes. The zero value of a field means absent.
type Spec struct {
	Family string // "llama"

	// Sizes.
	Layers  int // transformer blocks, L
	Hidden  int // width of the residual stream, d
	Heads   int // query heads, H
	KVHeads int // key and value heads, K; divides Heads
	HeadDim int // width of a head, D; H·D need not equal d
	FFN     int // width inside the MLP
	Vocab   int // rows of the embedding, V; may exceed the tokenizer's size
	Context int // positions the model was made for

	// Behaviours, of every block; Layer gives those of one.
	Norm    Norm
	NormEps float32 // added to the mean of squares
	Mixer   Mixer
	MLP     MLP

	RopeStyle RopeStyle
	RopeTheta float64 // base of the rotation's frequencies
	RopeDims  int     // leading dimensions of a head that rotate, R

	Tied  bool // the head is the embedding matrix
	Names Names
}

// Norm is how a normalisation computes.
type Norm uint8

// NormRMS is y = w·x / sqrt(mean(x²) + eps).
const NormRMS Norm = 1

// Mixer is what lets positions of a block see each other.
type Mixer uint8

// MixerGQA is causal attention of Heads query heads over KVHeads key and value
// heads, scores scaled by HeadDim^-½, no bias.
const MixerGQA Mixer = 1

// MLP is the position-wise half of a block.
type MLP uint8

// MLPGatedSiLU is W_down(silu(W_gate x) ⊙ W_up x), no bias.
const MLPGatedSiLU MLP = 1

// RopeStyle is which dimensions a rotation pairs.
type RopeStyle uint8

// The rotation styles.
const (
	RopeHalf        RopeStyle = 1 // (x_j, x_{j+R/2})
	RopeInterleaved RopeStyle = 2 // (x_{2j}, x_{2j+1})
)

// Layer is what one block does: h = x + mixer(norm(x)), x' = h + mlp(norm(h)).
type Layer struct {
	Mixer Mixer
	MLP   MLP
	Norm  Norm
	Rope  Rope
}

// Rope is the rotation of queries and keys in one block.
type Rope struct {
	Style RopeStyle
	Theta float64
	Dims  int
}

// Layer returns what block i does.
func (s *Spec) Layer(i int) Layer {
	return Layer{
		Mixer: s.Mixer,
		MLP:   s.MLP,
		Norm:  s.Norm,
		Rope:  Rope{Style: s.RopeStyle, Theta: s.RopeTheta, Dims: s.RopeDims},
	}
}

// Limits on what a file may claim, far above any model known; they keep
// products of sizes within an int64 and absurd files out of the allocator.
const (
	maxWidth   = 1 << 20
	maxVocab   = 1 << 24
	maxContext = 1 << 30
)

// Validate reports everything about s that package model could not interpret.
func (s *Spec) Validate() error {
	var faults []string
	size := func(name string, v, limit int) {
		if v < 1 || v > limit {
			faults = append(faults, fmt.Sprintf("%s is %d, want 1 to %d", name, v, limit))
		}
	}
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	want(s.Family != "", "no family")
	size("Layers", s.Layers, inference.MaxBlocks)
	size("Hidden", s.Hidden, maxWidth)
	size("Heads", s.Heads, maxWidth)
	size("KVHeads", s.KVHeads, maxWidth)
	size("HeadDim", s.HeadDim, maxWidth)
	size("FFN", s.FFN, maxWidth)
	size("Vocab", s.Vocab, maxVocab)
	size("Context", s.Context, maxContext)
	want(s.Heads*s.HeadDim <= maxWidth, "%d heads of %d: wider than %d", s.Heads, s.HeadDim, maxWidth)
	want(s.KVHeads < 1 || s.Heads%s.KVHeads == 0, "%d heads do not share %d key heads evenly", s.Heads, s.KVHeads)
	want(s.Norm == NormRMS, "norm %d", s.Norm)
	want(s.NormEps > 0 && s.NormEps < 1, "NormEps is %g, want 0 to 1", s.NormEps)
	want(s.Mixer == MixerGQA, "mixer %d", s.Mixer)
	want(s.MLP == MLPGatedSiLU, "MLP %d", s.MLP)
	want(s.RopeStyle == RopeHalf || s.RopeStyle == RopeInterleaved, "rope style %d", s.RopeStyle)
	want(s.RopeTheta >= 1 && !math.IsInf(s.RopeTheta, 0), "RopeTheta is %g", s.RopeTheta)
	want(s.RopeDims >= 2 && s.RopeDims <= s.HeadDim && s.RopeDims%2 == 0,
		"RopeDims is %d, want an even number to %d", s.RopeDims, s.HeadDim)
	if len(faults) > 0 {
		return fmt.Errorf("%s model: %s: %w", s.Family, strings.Join(faults, "; "), ErrMalformed)
	}
	return nil
}
