package sample

import (
	"math"
	"slices"

	"github.com/farlabs/inference"
)

// draw applies top-k, top-p and min-p at the temperature and draws with u in
// [0,1). high is the highest logit of the scratch row.
func (s *Sampler) draw(p *Params, high float32, u float64) Choice {
	topK := p.TopK > 0 && p.TopK < len(s.logits)
	topP := p.TopP > 0 && p.TopP < 1
	if !topK && !topP {
		s.weigh(p.Temperature, high)
		if p.MinP > 0 && p.MinP <= 1 {
			// The likeliest id has weight exp(0) = 1.
			for i, w := range s.weights {
				if w < float64(p.MinP) {
					s.weights[i] = 0
				}
			}
		}
		return invert(s.weights, u)
	}

	mass := 0.0 // of all ids still in the race
	if topK {
		s.highest(p.TopK)
		for i, c := range s.cands {
			s.cands[i].weight = weight(c.logit, high, p.Temperature)
			mass += s.cands[i].weight
		}
	} else {
		s.weigh(p.Temperature, high)
		mass = s.nucleusCandidates(float64(p.TopP))
	}
	if topP {
		s.nucleus(mass * float64(p.TopP))
	}
	if p.MinP > 0 && p.MinP <= 1 {
		s.cands = slices.DeleteFunc(s.cands, func(c candidate) bool { return c.weight < float64(p.MinP) })
	}
	slices.SortFunc(s.cands, func(a, b candidate) int { return int(a.id) - int(b.id) })
	s.weights = s.weights[:0]
	for _, c := range s.cands {
		s.weights = append(s.weights, c.weight)
	}
	c := invert(s.weights, u)
	if c.ID != None {
		c.ID = s.cands[c.ID].id
	}
	return c
}

// weight is the unnormalised probability exp((logit − high) ÷ temperature),
// at most 1; the difference is exact enough in float64 for any temperature.
func weight(logit, high, temperature float32) float64 {
	return exp((float64(logit) - float64(high)) / float64(temperature))
}

// weigh fills weights from the scratch row.
func (s *Sampler) weigh(temperature, high float32) {
	if cap(s.weights) < len(s.logits) {
		s.weights = make([]float64, len(s.logits))
	}
	s.weights = s.weights[:len(s.logits)]
	for i, x := range s.logits {
		s.weights[i] = weight(x, high, temperature)
	}
}

// highest leaves in cands the k highest logits above −∞, in no particular
// order: a heap of k with the lowest at its root, so that most ids cost one
// comparison.
func (s *Sampler) highest(k int) {
	s.cands = s.cands[:0]
	for i, x := range s.logits {
		c := candidate{logit: x, id: inference.TokenID(i)}
		switch {
		case math.IsInf(float64(x), -1):
		case len(s.cands) < k:
			s.cands = append(s.cands, c)
			if len(s.cands) == k {
				heapify(s.cands, lower)
			}
		case lower(s.cands[0], c):
			s.cands[0] = c
			siftDown(s.cands, 0, lower)
		}
	}
}

// nucleusCandidates fills cands with the ids that may belong to the nucleus of
// share p and returns the mass of all ids: those lighter than mass·(1−p)/n
// weigh less than mass·(1−p) together, so the heavier ones reach p without
// them.
func (s *Sampler) nucleusCandidates(p float64) (mass float64) {
	for _, w := range s.weights {
		mass += w
	}
	// Half of the bound: room for the rounding of the sums.
	cut := mass * (1 - p) / float64(2*len(s.weights))
	s.cands = s.cands[:0]
	for i, w := range s.weights {
		if w > 0 && w >= cut {
			s.cands = append(s.cands, candidate{weight: w, logit: s.logits[i], id: inference.TokenID(i)})
		}
	}
	return mass
}

// nucleus keeps the fewest likeliest candidates whose mass reaches the given
// one, at least one.
func (s *Sampler) nucleus(mass float64) {
	heapify(s.cands, higher)
	rest, sum := len(s.cands), 0.0
	for rest > 0 && (sum < mass || rest == len(s.cands)) {
		sum += s.cands[0].weight
		rest--
		s.cands[0], s.cands[rest] = s.cands[rest], s.cands[0]
		siftDown(s.cands[:rest], 0, higher)
	}
	s.cands = append(s.cands[:0], s.cands[rest:]...)
}

// invert returns the index at which the running sum of weights passes u of
// their total, and its share of the total.
func invert(weights []float64, u float64) Choice {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	target, sum := u*total, 0.0
	last := Choice{ID: None}
	for i, w := range weights {
		if w <= 0 {
			continue
		}
		last = Choice{ID: inference.TokenID(i), Prob: w / total}
		if sum += w; sum > target {
			break
		}
	}
	return last
}
