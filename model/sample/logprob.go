package sample

import (
	"math"
	"slices"

	"github.com/farlabs/inference"
)

// LogProb is the natural logarithm of a token's probability under the
// unmodified logits.
type LogProb struct {
	ID      inference.TokenID
	LogProb float64 // ≤ 0; −∞ for an id that cannot come, or that there is not
}

// LogSumExp returns log Σ exp(logit), the amount by which logits exceed
// log-probabilities; −∞ when no logit is above −∞. NaN counts as −∞, +∞ as
// the largest float32. A caller whose rows are longer than the vocabulary
// (padding) cuts them first.
func LogSumExp(logits []float32) float64 {
	best := argmax(logits)
	if best == None {
		return math.Inf(-1)
	}
	high := float64(cleaned(logits[best]))
	sum := 0.0
	for _, x := range logits {
		sum += exp(float64(cleaned(x)) - high)
	}
	return high + log(sum)
}

// LogProbs returns the log-probability of each of ids.
func LogProbs(logits []float32, ids []inference.TokenID) []float64 {
	sum := LogSumExp(logits)
	out := make([]float64, len(ids))
	for i, id := range ids {
		out[i] = math.Inf(-1)
		if id >= 0 && int(id) < len(logits) {
			out[i] = logProb(logits[id], sum)
		}
	}
	return out
}

// TopLogProbs returns the n likeliest ids, likeliest first, of equals the
// lower id first. It returns fewer where fewer have a logit above −∞.
func TopLogProbs(logits []float32, n int) []LogProb {
	if n <= 0 {
		return nil
	}
	s := samplers.Get().(*Sampler)
	defer samplers.Put(s)
	s.clean(logits)
	s.highest(n)
	slices.SortFunc(s.cands, func(a, b candidate) int {
		if higher(a, b) {
			return -1
		}
		return 1
	})
	sum := LogSumExp(logits)
	out := make([]LogProb, len(s.cands))
	for i, c := range s.cands {
		out[i] = LogProb{ID: c.id, LogProb: logProb(c.logit, sum)}
	}
	return out
}

// logProb returns logit − sum without NaN and never above 0.
func logProb(logit float32, sum float64) float64 {
	logit = cleaned(logit)
	if math.IsInf(float64(logit), -1) {
		return math.Inf(-1)
	}
	return min(0, float64(logit)-sum)
}
