package sample

import (
	"math"
	"slices"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/logits"
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

// total cleans logits into the scratch row and returns their total; its high is
// −∞ when no logit is above −∞.
func (s *Sampler) total(row []float32) total {
	s.clean(row)
	high := logits.Max(s.logits)
	if math.IsInf(float64(high), -1) {
		return total{high: math.Inf(-1)}
	}
	return total{high: float64(high), log: log(s.weigh(high, 1))}
}

// logProb returns the log-probability of one logit of the row.
func (t total) logProb(logit float32) float64 {
	logit = logits.Cleaned(logit)
	if math.IsInf(float64(logit), -1) {
		return math.Inf(-1)
	}
	return (float64(logit) - t.high) - t.log
}

// LogProbs returns the log-probability of each of ids. As in sampling, NaN
// counts as −∞ and +∞ as the largest float32. A caller whose rows are longer
// than the vocabulary (padding) cuts them first.
func LogProbs(row []float32, ids []inference.TokenID) []float64 {
	s := samplers.Get().(*Sampler)
	defer samplers.Put(s)
	t := s.total(row)
	out := make([]float64, len(ids))
	for i, id := range ids {
		out[i] = math.Inf(-1)
		if id >= 0 && int(id) < len(row) {
			out[i] = t.logProb(row[id])
		}
	}
	return out
}

// TopLogProbs returns the n likeliest ids, likeliest first, of equals the
// lower id first. It returns fewer where fewer have a logit above −∞.
func TopLogProbs(row []float32, n int) []LogProb {
	if n <= 0 {
		return nil
	}
	s := samplers.Get().(*Sampler)
	defer samplers.Put(s)
	t := s.total(row)
	s.highest(n)
	slices.SortFunc(s.cands, func(a, b candidate) int { return b.compare(a) })
	out := make([]LogProb, len(s.cands))
	for i, c := range s.cands {
		out[i] = LogProb{ID: c.id, LogProb: t.logProb(c.logit)}
	}
	return out
}
