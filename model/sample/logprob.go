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

// total is Σ exp(logit) in two parts: its logarithm is high + log, where high
// is the highest logit, so that huge logits lose nothing.
type total struct{ high, log float64 }

// totalOf returns high = −∞ when no logit is above −∞.
func totalOf(logits []float32) total {
	best := argmax(logits)
	if best == None {
		return total{high: math.Inf(-1)}
	}
	high := float64(cleaned(logits[best]))
	sum := 0.0
	for _, x := range logits {
		sum += exp(float64(cleaned(x)) - high)
	}
	return total{high: high, log: log(sum)}
}

// logProb returns the log-probability of one logit of the row.
func (t total) logProb(logit float32) float64 {
	logit = cleaned(logit)
	if math.IsInf(float64(logit), -1) {
		return math.Inf(-1)
	}
	return (float64(logit) - t.high) - t.log
}

// LogProbs returns the log-probability of each of ids. As in sampling, NaN
// counts as −∞ and +∞ as the largest float32. A caller whose rows are longer
// than the vocabulary (padding) cuts them first.
func LogProbs(logits []float32, ids []inference.TokenID) []float64 {
	t := totalOf(logits)
	out := make([]float64, len(ids))
	for i, id := range ids {
		out[i] = math.Inf(-1)
		if id >= 0 && int(id) < len(logits) {
			out[i] = t.logProb(logits[id])
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
	slices.SortFunc(s.cands, func(a, b candidate) int { return b.compare(a) })
	t := totalOf(logits)
	out := make([]LogProb, len(s.cands))
	for i, c := range s.cands {
		out[i] = LogProb{ID: c.id, LogProb: t.logProb(c.logit)}
	}
	return out
}
