// Package sample turns one row of logits into one token id.
//
// In: logits, one float32 per id of the vocabulary (natural-log scale, any
// offset), [Params], the ids so far ([History]) and the place of the token
// (branch, position). Out: a [Choice]. It is a pure function: the random
// number is a hash of (seed, branch, position), so a token can be sampled
// again by anyone, after any interruption, with the same result. The
// arithmetic is float64 in a fixed order with its own exp and log, and so has
// the same bits on every processor.
//
// Order of the steps:
//
//  1. cleaning: NaN counts as −∞, +∞ as the largest float32; ids ≥ Params.Vocab
//     are cut off. An id at −∞ is never chosen.
//  2. repetition penalty, over the ids of prompt and generated text, each once:
//     a logit above zero is divided by it, others are multiplied (CTRL, Keskar
//     et al. 2019, as transformers does).
//  3. presence and frequency penalty, over generated ids only:
//     logit −= presence + count·frequency (as the OpenAI API documents).
//  4. logit bias, added. After 2, so that a bias is not scaled.
//  5. temperature 0: the highest logit, ties to the lower id. Done.
//  6. logits ÷ temperature.
//  7. top-k: the k highest, ties to the lower id.
//  8. top-p: of what is left, renormalised, the shortest run of most likely ids
//     whose probability reaches p; the one that crosses p stays in.
//  9. min-p: ids of at least p times the probability of the likeliest.
//  10. one draw from what is left, by inversion in ascending order of ids.
//
// Log-probabilities ([LogProbs], [TopLogProbs]) are of the unmodified logits.
//
// The package knows nothing of text, models or the network. A [Sampler] keeps
// scratch memory between calls, nothing else.
package sample

import (
	"math"
	"sync"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/logits"
)

// None is the id of a [Choice] when nothing could be chosen.
const None inference.TokenID = -1

// History is what was said before the token to be sampled. Ids outside the
// vocabulary are ignored.
type History struct {
	Prompt    []inference.TokenID // repetition penalty
	Generated []inference.TokenID // repetition, presence and frequency penalty
}

// Choice is a sampled token.
type Choice struct {
	ID   inference.TokenID // None when every logit is −∞ or NaN, or there are none
	Prob float64           // probability of ID in the final distribution; 1 for greedy, 0 for None
}

// Sampler samples with scratch memory that grows to the vocabulary once
// (33 bytes per id at most) and is reused; steady state allocates nothing. The
// zero value is ready. One goroutine at a time may use it.
type Sampler struct {
	logits  []float32 // [vocab] cleaned, then modified
	weights []float64 // [vocab] exp((logit − max) ÷ temperature)
	sums    []float64 // of blocks of weights
	cands   []candidate
	counts  []int32             // [vocab] occurrences; zero between calls
	seen    []inference.TokenID // ids whose counts are not zero
}

// candidate is an id that is still in the race.
type candidate struct {
	weight float64
	logit  float32
	id     inference.TokenID
}

var samplers = sync.Pool{New: func() any { return new(Sampler) }}

// Sample chooses the token at a position of a branch (see the package comment
// for the steps). It borrows every argument and changes none. Params fields
// out of range count as absent; [Params.Validate] names them.
func Sample(row []float32, p *Params, history History, position int, branch uint32) Choice {
	s := samplers.Get().(*Sampler)
	defer samplers.Put(s)
	return s.Sample(row, p, history, position, branch)
}

// Sample is the function [Sample] on the scratch memory of s. Earlier calls do
// not bear on the result.
func (s *Sampler) Sample(row []float32, p *Params, history History, position int, branch uint32) Choice {
	if p.Vocab > 0 && p.Vocab < len(row) {
		row = row[:p.Vocab]
	}
	greedy := !(p.Temperature > 0) || p.TopK == 1
	if greedy && p.plain() {
		// The row as it came will do, but for +∞, which the largest number equals.
		if high := logits.Max(row); high < math.MaxFloat32 {
			return chosen(argmax(row))
		}
	}
	s.clean(row)
	s.penalise(p, history)
	for id, bias := range p.LogitBias {
		if id >= 0 && int(id) < len(s.logits) {
			s.logits[id] = logits.Cleaned(s.logits[id] + bias)
		}
	}
	best := argmax(s.logits)
	if greedy || best == None {
		return chosen(best)
	}
	return s.draw(p, s.logits[best], uniform(p.Seed, branch, uint64(position)))
}

// chosen is the choice of an id without a draw.
func chosen(id inference.TokenID) Choice {
	if id == None {
		return Choice{ID: None}
	}
	return Choice{ID: id, Prob: 1}
}

// plain says that nothing changes the logits.
func (p *Params) plain() bool {
	return !(p.RepetitionPenalty > 0 && p.RepetitionPenalty != 1) &&
		p.PresencePenalty == 0 && p.FrequencyPenalty == 0 && len(p.LogitBias) == 0
}

// clean copies a row into the scratch row, without NaN and +∞.
func (s *Sampler) clean(row []float32) {
	if cap(s.logits) < len(row) {
		s.logits = make([]float32, len(row))
	}
	s.logits = s.logits[:len(row)]
	logits.Clean(s.logits, row)
}

// argmax returns the id of the highest element of a clean row above −∞, the
// lowest of equals, or None.
func argmax(row []float32) inference.TokenID {
	high := logits.Max(row)
	if math.IsInf(float64(high), -1) {
		return None
	}
	return inference.TokenID(logits.First(row, high))
}
