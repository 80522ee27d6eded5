package stage

import (
	"time"

	"github.com/farlabs/inference"
)

// rates measures this node on the passes it makes, as running means over about
// the last 30, milliseconds per token·block.
type rates struct{ decode, prefill float64 }

const (
	rateWeight  = 1.0 / 16
	prefillRows = 32 // a pass of at least so many prompt rows measures prefill
)

// add takes a pass into account. A decode pass measures the time that a token
// spends in a block, however many others were with it; a prompt pass the time
// that one of its rows takes.
func (r *rates) add(p *PassInfo) {
	ms := float64(p.Duration) / float64(time.Millisecond) / float64(p.Blocks.Len())
	switch {
	case p.Err != nil || p.Rows == 0:
	case p.Prefill == 0:
		r.decode = mean(r.decode, ms)
	case p.Prefill >= prefillRows && p.Prefill >= p.Rows/2:
		r.prefill = mean(r.prefill, ms/float64(p.Rows))
	}
}

func mean(old, v float64) float64 {
	if old == 0 {
		return v
	}
	return old + rateWeight*(v-old)
}

// Rates returns what was measured; a rate is 0 before the first pass of its kind.
func (s *Stage) Rates() inference.Rates {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inference.Rates{Decode: s.rates.decode, Prefill: s.rates.prefill}
}
