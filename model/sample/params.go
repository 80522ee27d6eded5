package sample

import (
	"errors"
	"fmt"
	"math"

	"github.com/farlabs/inference"
)

// Params says how to sample. The zero value is greedy. A field at its zero
// value is absent.
type Params struct {
	Temperature       float32 // divides the logits; 0: greedy
	TopK              int     // keep the k likeliest ids; 0: all
	TopP              float32 // keep the likeliest ids that reach this probability; 0 or 1: all
	MinP              float32 // keep ids of at least this share of the likeliest one's probability; 0: all
	RepetitionPenalty float32 // > 1 makes ids of prompt and generated text less likely; 0 or 1: none
	PresencePenalty   float32 // subtracted once from the logit of each generated id
	FrequencyPenalty  float32 // subtracted per occurrence among the generated ids
	LogitBias         map[inference.TokenID]float32
	Seed              uint64
	Vocab             int // ids ≥ Vocab are never sampled; 0: as many as there are logits
}

// Validate names every field that is out of range; the error wraps
// [inference.ErrInvalid]. Ids in LogitBias need only be non-negative: which of
// them the vocabulary has is the caller's to know.
func (p *Params) Validate() error {
	var faults []error
	check := func(ok bool, name string, value any, want string) {
		if !ok {
			faults = append(faults, fmt.Errorf("%s %v: want %s: %w", name, value, want, inference.ErrInvalid))
		}
	}
	check(within(p.Temperature, 0, 100), "temperature", p.Temperature, "0 to 100")
	check(p.TopK >= 0, "top_k", p.TopK, "0 (off) or more")
	check(within(p.TopP, 0, 1), "top_p", p.TopP, "0 to 1")
	check(within(p.MinP, 0, 1), "min_p", p.MinP, "0 to 1")
	check(within(p.RepetitionPenalty, 0, 100), "repetition_penalty", p.RepetitionPenalty, "0 (off) to 100")
	check(within(p.PresencePenalty, -100, 100), "presence_penalty", p.PresencePenalty, "-100 to 100")
	check(within(p.FrequencyPenalty, -100, 100), "frequency_penalty", p.FrequencyPenalty, "-100 to 100")
	check(p.Vocab >= 0, "vocab", p.Vocab, "0 or more")
	for id, bias := range p.LogitBias {
		if id < 0 || !within(bias, -math.MaxFloat32, math.MaxFloat32) {
			check(false, "logit_bias", fmt.Sprintf("%d: %v", id, bias), "an id and a finite number")
			break // one is enough to say so
		}
	}
	return errors.Join(faults...)
}

// within reports lo ≤ x ≤ hi; NaN is nowhere.
func within(x, lo, hi float32) bool { return x >= lo && x <= hi }
