package sample

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/logits"
)

// reference is the package comment written down with full sorts and package
// math: the final distribution over all ids, nil when nothing can be chosen.
func reference(row []float32, p *Params, h History) []float64 {
	if p.Vocab > 0 && p.Vocab < len(row) {
		row = row[:p.Vocab]
	}
	x := make([]float32, len(row))
	for i := range x {
		x[i] = logits.Cleaned(row[i])
	}
	counts := map[inference.TokenID]int{}
	for _, id := range h.Generated {
		counts[id]++
	}
	all := map[inference.TokenID]bool{}
	for _, id := range append(slices.Clone(h.Prompt), h.Generated...) {
		all[id] = true
	}
	for i := range x {
		id := inference.TokenID(i)
		if r := p.RepetitionPenalty; all[id] && r > 0 && r != 1 {
			if x[i] > 0 {
				x[i] = logits.Cleaned(x[i] / r)
			} else {
				x[i] = logits.Cleaned(x[i] * r)
			}
		}
		if n := counts[id]; n > 0 && (p.PresencePenalty != 0 || p.FrequencyPenalty != 0) {
			x[i] = logits.Cleaned(x[i] - (p.PresencePenalty + float32(float32(n)*p.FrequencyPenalty)))
		}
		if b, ok := p.LogitBias[id]; ok {
			x[i] = logits.Cleaned(x[i] + b)
		}
	}
	var order []int
	for i := range x {
		if !math.IsInf(float64(x[i]), -1) {
			order = append(order, i)
		}
	}
	if len(order) == 0 {
		return nil
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] > x[b]:
			return -1
		case x[a] < x[b]:
			return 1
		}
		return 0
	})
	probs := make([]float64, len(x))
	if !(p.Temperature > 0) || p.TopK == 1 {
		probs[order[0]] = 1
		return probs
	}
	high := float64(x[order[0]])
	weight := func(i int) float64 { return math.Exp((float64(x[i]) - high) / float64(p.Temperature)) }
	if p.TopK > 0 && p.TopK < len(order) {
		order = order[:p.TopK]
	}
	if p.TopP > 0 && p.TopP < 1 {
		mass, sum, n := 0.0, 0.0, 0
		for _, i := range order {
			mass += weight(i)
		}
		for n == 0 || n < len(order) && sum < mass*float64(p.TopP) {
			sum += weight(order[n])
			n++
		}
		order = order[:n]
	}
	total := 0.0
	for _, i := range order {
		if w := weight(i); !(p.MinP > 0 && p.MinP <= 1) || w >= float64(p.MinP) {
			probs[i] = w
			total += w
		}
	}
	for i := range probs {
		probs[i] /= total
	}
	return probs
}

// distribution reads the final distribution off a sampler by walking u over
// [0,1): each choice says how far its id reaches.
func distribution(t *testing.T, logits []float32, p *Params, h History) []float64 {
	t.Helper()
	var s Sampler
	first := s.Sample(logits, p, h, 0, 0)
	if first.ID == None {
		return nil
	}
	n := len(logits)
	if p.Vocab > 0 {
		n = min(n, p.Vocab)
	}
	probs := make([]float64, n)
	if !(p.Temperature > 0) || p.TopK == 1 {
		probs[first.ID] = first.Prob
		return probs
	}
	high := s.logits[argmax(s.logits)]
	for u := 0.0; u < 1; {
		c := s.draw(p, high, u)
		if c.ID == None || c.Prob <= 0 {
			t.Fatalf("u = %v: %+v", u, c)
		}
		probs[c.ID] = c.Prob
		u = math.Max(u+c.Prob+1e-13, math.Nextafter(u, 2))
	}
	return probs
}

func TestDistributionsAreThoseOfTransformers(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Params struct {
				Temperature       float32 `json:"temperature"`
				RepetitionPenalty float32 `json:"repetition_penalty"`
				TopK              int     `json:"top_k"`
				TopP              float32 `json:"top_p"`
				MinP              float32 `json:"min_p"`
			} `json:"params"`
			Logits    []float32           `json:"logits"`
			Prompt    []inference.TokenID `json:"prompt"`
			Generated []inference.TokenID `json:"generated"`
			Probs     []float64           `json:"probs"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	for i, c := range golden.Cases {
		p := &Params{Temperature: c.Params.Temperature, RepetitionPenalty: c.Params.RepetitionPenalty, TopK: c.Params.TopK, TopP: c.Params.TopP, MinP: c.Params.MinP}
		h := History{Prompt: c.Prompt, Generated: c.Generated}
		compare(t, i, distribution(t, c.Logits, p, h), c.Probs, 2e-6) // float32 logits and temperature
		compare(t, i, reference(c.Logits, p, h), c.Probs, 2e-6)
	}
	if len(golden.Cases) < 50 {
		t.Errorf("%d cases", len(golden.Cases))
	}
}

func compare(t *testing.T, i int, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("case %d: %d ids, want %d", i, len(got), len(want))
		return
	}
	for id := range want {
		// An id of almost no weight may be too narrow for the walk to hit.
		if math.Abs(got[id]-want[id]) > tolerance || (got[id] == 0) != (want[id] == 0) && want[id] > 1e-9 {
			t.Errorf("case %d: probability of %d is %v, want %v", i, id, got[id], want[id])
		}
	}
}
