package sample

import (
	"math"
	"testing"

	"github.com/farlabs/inference"
)

// chiSquare returns Pearson's statistic of counts against probabilities and
// the value that it exceeds once in 10,000 times by chance (Wilson and
// Hilferty 1931). Cells that expect fewer than five go together.
func chiSquare(counts []int, probs []float64) (statistic, critical float64) {
	total := 0
	for _, n := range counts {
		total += n
	}
	cells, rareCount, rareExpected := 0, 0.0, 0.0
	for i, n := range counts {
		expected := probs[i] * float64(total)
		if expected < 5 {
			rareCount += float64(n)
			rareExpected += expected
			continue
		}
		cells++
		statistic += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	if rareExpected >= 1 {
		cells++
		statistic += (rareCount - rareExpected) * (rareCount - rareExpected) / rareExpected
	}
	df := math.Max(1, float64(cells-1))
	const z = 3.719 // upper 1e-4 of the normal distribution
	return statistic, df * math.Pow(1-2/(9*df)+z*math.Sqrt(2/(9*df)), 3)
}

var chiLogits = []float32{2.1, -0.4, 1.7, 0.2, 1.7, -3, 0.9, -1.2, 2.4, 0, float32(math.Inf(-1)), 1.1, -0.8, float32(math.NaN()), 0.5, 3.5}

var chiHistory = History{
	Prompt:    []inference.TokenID{0, 5, 9, 9},
	Generated: []inference.TokenID{8, 2, 8, 8, 3, 99, -1},
}

var chiCases = []struct {
	name string
	p    Params
}{
	{"temperature 1", Params{Temperature: 1}},
	{"temperature 0.5", Params{Temperature: 0.5}},
	{"temperature 2", Params{Temperature: 2}},
	{"top-k", Params{Temperature: 1, TopK: 4}},
	{"top-k with a tie at its edge", Params{Temperature: 1, TopK: 3}},
	{"top-p", Params{Temperature: 1, TopP: 0.8}},
	{"min-p", Params{Temperature: 1, MinP: 0.1}},
	{"repetition penalty", Params{Temperature: 1, RepetitionPenalty: 1.8}},
	{"presence penalty", Params{Temperature: 1, PresencePenalty: 1.5}},
	{"frequency penalty", Params{Temperature: 1, FrequencyPenalty: 0.7}},
	{"logit bias", Params{Temperature: 1, LogitBias: map[inference.TokenID]float32{1: 3, 8: -2, 10: 100, 15: -100, 77: 5}}},
	{"vocabulary", Params{Temperature: 1, Vocab: 12}},
	{"all", Params{Temperature: 0.9, TopK: 8, TopP: 0.95, MinP: 0.02, RepetitionPenalty: 1.2, PresencePenalty: 0.3, FrequencyPenalty: 0.2, LogitBias: map[inference.TokenID]float32{11: 1}, Vocab: 15}},
}

func TestDrawsFollowTheDistribution(t *testing.T) {
	const draws = 40000
	var s Sampler
	for i, c := range chiCases {
		c.p.Seed = 1000 + uint64(i)
		want := reference(chiLogits, &c.p, chiHistory)
		counts := make([]int, len(want))
		for position := range draws {
			got := s.Sample(chiLogits, &c.p, chiHistory, position, 0)
			counts[got.ID]++
			if math.Abs(got.Prob-want[got.ID]) > 1e-12 {
				t.Fatalf("%s: probability of %d is %v, want %v", c.name, got.ID, got.Prob, want[got.ID])
			}
		}
		statistic, critical := chiSquare(counts, want)
		if statistic > critical {
			t.Errorf("%s: chi-square %.1f exceeds %.1f\n got %v\nwant %v", c.name, statistic, critical, counts, want)
		}
		// The test would see the option missing.
		if i > 0 {
			plain := Params{Temperature: 1, Seed: c.p.Seed}
			other := reference(chiLogits, &plain, chiHistory)
			if len(other) == len(counts) {
				if statistic, critical := chiSquare(counts, other); statistic < critical {
					t.Errorf("%s: chi-square %.1f against the plain distribution is below %.1f", c.name, statistic, critical)
				}
			}
		}
	}
}

// TestDrawsOfNeighboursAreIndependent counts pairs of draws that differ by
// one in position, branch or seed.
func TestDrawsOfNeighboursAreIndependent(t *testing.T) {
	logits := []float32{1, 0, 0.5, -0.5}
	p := Params{Temperature: 1}
	probs := reference(logits, &p, History{})
	n := len(logits)
	pairs := make([]float64, n*n)
	for i := range pairs {
		pairs[i] = probs[i/n] * probs[i%n]
	}
	draw := func(seed uint64, branch uint32, position int) int {
		p.Seed = seed
		return int(Sample(logits, &p, History{}, position, branch).ID)
	}
	for name, next := range map[string]func(i int) int{
		"position": func(i int) int { return draw(5, 0, i+1) },
		"branch":   func(i int) int { return draw(5, 1, i) },
		"seed":     func(i int) int { return draw(6, 0, i) },
	} {
		counts := make([]int, n*n)
		for i := range 40000 {
			counts[draw(5, 0, i)*n+next(i)]++
		}
		if statistic, critical := chiSquare(counts, pairs); statistic > critical {
			t.Errorf("%s: chi-square %.1f exceeds %.1f", name, statistic, critical)
		}
	}
}
