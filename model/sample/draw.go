package sample

import (
	"math"
	"slices"

	"github.com/farlabs/inference"
)

// everything is below every candidate.
var everything = candidate{logit: float32(math.Inf(-1)), id: math.MaxInt32}

// draw applies top-k, top-p and min-p at the temperature and draws with u in
// [0,1). high is the highest logit of the scratch row.
func (s *Sampler) draw(p *Params, high float32, u float64) Choice {
	cut := everything
	if p.TopK > 0 && p.TopK < len(s.logits) {
		if s.highest(p.TopK); len(s.cands) == p.TopK {
			cut = s.cands[0]
		}
	}
	mass := s.weigh(p.Temperature, high, cut)
	if p.TopP > 0 && p.TopP < 1 {
		cut = s.nucleus(mass, float64(p.TopP))
		for i, x := range s.logits {
			if lower(candidate{logit: x, id: inference.TokenID(i)}, cut) {
				s.weights[i] = 0
			}
		}
	}
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

// weigh fills weights from the scratch row, with 0 for what is lower than cut,
// and returns their sum. A weight is the unnormalised probability
// exp((logit − high) ÷ temperature), at most 1.
func (s *Sampler) weigh(temperature, high float32, cut candidate) (mass float64) {
	if cap(s.weights) < len(s.logits) {
		s.weights = make([]float64, len(s.logits))
	}
	s.weights = s.weights[:len(s.logits)]
	for i, x := range s.logits {
		w := 0.0
		if x > cut.logit || x == cut.logit && inference.TokenID(i) <= cut.id {
			w = exp((float64(x) - float64(high)) / float64(temperature))
		}
		s.weights[i] = w
		mass += w
	}
	return mass
}

// highest leaves in cands the k highest logits above −∞: a heap of k with the
// lowest at its root, so that most ids cost one comparison. Where there are
// fewer than k, all of them, in ascending order of ids.
func (s *Sampler) highest(k int) {
	s.cands = s.cands[:0]
	for i, x := range s.logits {
		switch {
		case len(s.cands) < k:
			if x < float32(-math.MaxFloat32) {
				continue // −∞
			}
			s.cands = append(s.cands, candidate{logit: x, id: inference.TokenID(i)})
			if len(s.cands) == k {
				heapify(s.cands)
			}
		case x > s.cands[0].logit: // of equals the lower id is in already
			s.cands[0] = candidate{logit: x, id: inference.TokenID(i)}
			siftDown(s.cands, 0)
		}
	}
}

// nucleus returns the lowest member of the nucleus: the fewest likeliest ids
// whose weights reach the share p of their sum, mass. All ids lighter than
// mass·(1−p)/n weigh less than mass·(1−p) together, so the heavier ones reach
// p without them; among those it partitions towards the place where the sum
// passes the share (Hoare's selection, by weight).
func (s *Sampler) nucleus(mass, p float64) candidate {
	// Half of the bound: room for the rounding of the sums.
	least := mass * (1 - p) / float64(2*len(s.weights))
	s.cands = s.cands[:0]
	for i, w := range s.weights {
		if w > 0 && w >= least {
			s.cands = append(s.cands, candidate{weight: w, logit: s.logits[i], id: inference.TokenID(i)})
		}
	}
	return reach(s.cands, mass*p, 64)
}

// reach returns the candidate with which the sum of weights, likeliest first,
// reaches missing. After so many rounds of unlucky pivots (contrived logits) it
// sorts. It reorders c, which must not be empty.
func reach(c []candidate, missing float64, rounds int) candidate {
	for len(c) > 1 {
		if rounds--; rounds < 0 {
			slices.SortFunc(c, func(a, b candidate) int { return b.compare(a) })
			for len(c) > 1 && c[0].weight < missing {
				missing -= c[0].weight
				c = c[1:]
			}
			break
		}
		upper, weight := partition(c)
		pivot := c[upper-1]
		switch {
		case weight-pivot.weight >= missing && upper > 1:
			c = c[:upper-1] // reached before the pivot
		case weight >= missing || upper == len(c):
			return pivot
		default:
			missing -= weight
			c = c[upper:]
		}
	}
	return c[0]
}

// partition moves what is higher than a pivot, the median of three, to the
// front and the pivot behind it. It returns how many that are and their weight.
func partition(c []candidate) (upper int, weight float64) {
	last := len(c) - 1
	first, middle := 0, last/2
	if lower(c[first], c[middle]) {
		c[first], c[middle] = c[middle], c[first]
	}
	if lower(c[middle], c[last]) {
		c[middle], c[last] = c[last], c[middle]
		if lower(c[first], c[middle]) {
			c[first], c[middle] = c[middle], c[first]
		}
	}
	c[middle], c[last] = c[last], c[middle]
	pivot := c[last]
	for i := range last {
		if lower(pivot, c[i]) {
			weight += c[i].weight
			c[upper], c[i] = c[i], c[upper]
			upper++
		}
	}
	c[upper], c[last] = c[last], c[upper]
	return upper + 1, weight + pivot.weight
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
