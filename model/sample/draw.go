package sample

import (
	"math"
	"slices"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/logits"
)

// everything is below every candidate.
var everything = candidate{logit: float32(math.Inf(-1)), id: math.MaxInt32}

// draw applies top-k, top-p and min-p at the temperature and draws with u in
// [0,1). high is the highest logit of the scratch row.
//
// Where top-k leaves few ids, only those are weighed; else the whole row is,
// and blocks of it that are too light to matter are skipped from then on.
func (s *Sampler) draw(p *Params, high float32, u float64) Choice {
	scale := 1 / float64(p.Temperature)
	topP, minP := 0.0, 0.0
	if p.TopP > 0 && p.TopP < 1 {
		topP = float64(p.TopP)
	}
	if p.MinP > 0 && p.MinP <= 1 {
		minP = float64(p.MinP) // of the likeliest id, whose weight is exp(0) = 1
	}
	if p.TopK > 0 && p.TopK < len(s.logits) {
		s.highest(p.TopK)
		byID(s.cands)
		mass := 0.0
		for i := range s.cands {
			c := &s.cands[i]
			c.weight = logits.Exp(float64((float64(c.logit) - float64(high)) * scale))
			mass += c.weight
		}
		if topP > 0 {
			cut := reach(s.cands, mass*topP, 64)
			s.keep(func(c *candidate) bool { return !lower(*c, cut) })
			byID(s.cands)
		}
		s.keep(func(c *candidate) bool { return c.weight >= minP })
		return invert(s.cands, u)
	}
	mass := s.weigh(high, scale)
	if topP == 0 && minP == 0 {
		return s.invertRow(mass, u)
	}
	cut := everything
	if topP > 0 {
		cut = s.nucleus(mass, topP)
	}
	s.gather(max(cut.weight, minP), cut)
	return invert(s.cands, u)
}

// byID sorts candidates in ascending order of ids.
func byID(c []candidate) {
	slices.SortFunc(c, func(a, b candidate) int { return int(a.id - b.id) })
}

// keep drops the candidates that f does not like, and leaves the order of the
// others.
func (s *Sampler) keep(f func(c *candidate) bool) {
	n := 0
	for i := range s.cands {
		if f(&s.cands[i]) {
			s.cands[n] = s.cands[i]
			n++
		}
	}
	s.cands = s.cands[:n]
}

// weigh fills weights and sums from the scratch row and returns the sum of all.
// A weight is the unnormalised probability exp((logit − high) ÷ temperature), at
// most 1.
func (s *Sampler) weigh(high float32, scale float64) (mass float64) {
	n := len(s.logits)
	if cap(s.weights) < n {
		s.weights = make([]float64, n)
		s.sums = make([]float64, logits.Blocks(n))
	}
	s.weights, s.sums = s.weights[:n], s.sums[:logits.Blocks(n)]
	logits.Weights(s.weights, s.sums, s.logits, high, scale)
	for _, sum := range s.sums {
		mass += sum
	}
	return mass
}

// gather leaves in cands, in ascending order of ids, the ids that weigh at
// least so much, and not nothing, and are not lower than cut. A block of less
// weight has none.
func (s *Sampler) gather(least float64, cut candidate) {
	s.cands = s.cands[:0]
	for b, sum := range s.sums {
		if sum < least || sum == 0 {
			continue
		}
		first := b * logits.Block
		for i, w := range s.weights[first:min(first+logits.Block, len(s.weights))] {
			if w < least || w == 0 {
				continue
			}
			c := candidate{weight: w, logit: s.logits[first+i], id: inference.TokenID(first + i)}
			if !lower(c, cut) {
				s.cands = append(s.cands, c)
			}
		}
	}
}

// highest leaves in cands the k highest logits above −∞: a heap of k with the
// lowest at its root, so that most ids cost a part of one comparison. Where
// there are fewer than k, all of them, in ascending order of ids.
func (s *Sampler) highest(k int) {
	s.cands = s.cands[:0]
	for i := 0; i < len(s.logits); i++ {
		if len(s.cands) < k {
			if x := s.logits[i]; x >= -math.MaxFloat32 { // not −∞
				s.cands = append(s.cands, candidate{logit: x, id: inference.TokenID(i)})
				if len(s.cands) == k {
					heapify(s.cands)
				}
			}
			continue
		}
		// Of equals the lower id is in already: only what is higher than the root
		// can come.
		above := math.Nextafter32(s.cands[0].logit, float32(math.Inf(1)))
		if i += logits.First(s.logits[i:], above); i < len(s.logits) {
			s.cands[0] = candidate{logit: s.logits[i], id: inference.TokenID(i)}
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
	s.gather(mass*(1-p)/float64(2*len(s.weights)), everything)
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

// invert returns the candidate at which the running sum of weights passes u of
// their total, and its share of the total.
func invert(c []candidate, u float64) Choice {
	total := 0.0
	for i := range c {
		total += c[i].weight
	}
	target, sum := u*total, 0.0
	last := Choice{ID: None}
	for i := range c {
		if c[i].weight == 0 {
			continue
		}
		last = Choice{ID: c[i].id, Prob: c[i].weight / total}
		if sum += c[i].weight; sum > target {
			break
		}
	}
	return last
}

// invertRow is invert over all weights, whose sum is total: block by block,
// then within the block that passes. Sums within a block may round otherwise
// than the block's own: then the last of its ids stands for those it lacks.
func (s *Sampler) invertRow(total, u float64) Choice {
	target, sum := u*total, 0.0
	at := -1
	for b, w := range s.sums {
		if w == 0 {
			continue
		}
		if at = b; sum+w > target {
			break
		}
		sum += w
	}
	last := Choice{ID: None}
	if at < 0 {
		return last
	}
	first := at * logits.Block
	for i, w := range s.weights[first:min(first+logits.Block, len(s.weights))] {
		if w == 0 {
			continue
		}
		last = Choice{ID: inference.TokenID(first + i), Prob: w / total}
		if sum += w; sum > target {
			break
		}
	}
	return last
}
