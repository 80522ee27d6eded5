package sample

import (
	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/logits"
)

// penalise applies the repetition penalty and then the presence and frequency
// penalties to the scratch row.
func (s *Sampler) penalise(p *Params, h History) {
	if r := p.RepetitionPenalty; r > 0 && r != 1 {
		s.count(h.Prompt)
		s.count(h.Generated)
		for _, id := range s.seen {
			if x := s.logits[id]; x > 0 {
				s.logits[id] = logits.Cleaned(x / r)
			} else {
				s.logits[id] = logits.Cleaned(x * r)
			}
		}
		s.forget()
	}
	presence, frequency := p.PresencePenalty, p.FrequencyPenalty
	if presence != 0 || frequency != 0 {
		s.count(h.Generated)
		for _, id := range s.seen {
			amount := presence + float32(float32(s.counts[id])*frequency)
			s.logits[id] = logits.Cleaned(s.logits[id] - amount)
		}
		s.forget()
	}
}

// count adds ids to counts and seen.
func (s *Sampler) count(ids []inference.TokenID) {
	if len(s.counts) < len(s.logits) {
		s.counts = make([]int32, len(s.logits))
	}
	for _, id := range ids {
		if id < 0 || int(id) >= len(s.logits) {
			continue
		}
		if s.counts[id] == 0 {
			s.seen = append(s.seen, id)
		}
		s.counts[id]++
	}
}

// forget clears counts and seen.
func (s *Sampler) forget() {
	for _, id := range s.seen {
		s.counts[id] = 0
	}
	s.seen = s.seen[:0]
}
