package rating

import (
	"math"
	"time"

	"github.com/farlabs/inference"
)

// HalfLife is the time after which an observation weighs half.
const HalfLife = 10 * time.Minute

// Uptime counts seconds. Serving within a slot of servedSlot counts as that
// many seconds up, once; a failure counts as seconds down by its kind. The
// prior is what an unknown peer has.
const (
	servedSlot   = 10 * time.Second
	priorSeconds = 60 // at Unmeasured
)

// Failure is how a peer failed.
type Failure uint8

// The kinds of failure.
const (
	Dead    Failure = iota // its connection is gone
	Stalled                // it does not answer, or does not get on
	Refused                // it would not take a session
	Busy                   // it had no room: no fault, but not up either
	Faulty                 // it answered with nonsense
	numFailures
)

// downSeconds is what a failure costs, seconds.
var downSeconds = [numFailures]float64{Dead: 120, Stalled: 120, Refused: 30, Busy: 5, Faulty: 120}

// weight is what an observation of age d still counts.
func weight(d time.Duration) float64 {
	if d <= 0 {
		return 1
	}
	return math.Exp2(-float64(d) / float64(HalfLife))
}

// rate is the mean time per token·block as two decaying sums: their quotient
// weighs every token·block alike, so that pauses between fast steps count in
// full.
type rate struct {
	Millis float64 `json:"ms"`
	Units  float64 `json:"units"` // token·blocks
	Steps  float64 `json:"steps"`
}

// keepSteps bounds the weight of the past: the last steps count for it, however
// many there were, so that a peer that turns slow is noticed within seconds.
const keepSteps = 400

func (r *rate) add(units uint64, d time.Duration) {
	if f := (keepSteps - 1.0) / keepSteps; r.Steps+1 > keepSteps {
		r.decay(f)
	}
	r.Millis += float64(d) / float64(time.Millisecond)
	r.Units += float64(units)
	r.Steps++
}

func (r *rate) decay(f float64) {
	r.Millis *= f
	r.Units *= f
	r.Steps *= f
}

// minSteps is the weight of steps below which a rate counts as unmeasured,
// because it is of long ago: a single step lasts one half-life.
const minSteps = 0.5

// value returns milliseconds per token·block, 0 when unmeasured.
func (r *rate) value() float64 {
	if r.Steps < minSteps || r.Units <= 0 {
		return 0
	}
	return r.Millis / r.Units
}

// peer is what is known of one peer. Its sums are as of Seen.
type peer struct {
	Digest  inference.Digest     `json:"model"` // that it served last
	Seen    time.Time            `json:"seen"`  // of the last observation
	Up      float64              `json:"up_s"`
	Down    float64              `json:"down_s"`
	Slot    time.Time            `json:"slot"` // start of the last slot that counted as up
	Decode  rate                 `json:"decode"`
	Prefill rate                 `json:"prefill"`
	Failed  [numFailures]float64 `json:"failed"` // decayed counts, for people
}

// at brings the sums up to now.
func (p *peer) at(now time.Time) {
	f := weight(now.Sub(p.Seen))
	p.Up *= f
	p.Down *= f
	p.Decode.decay(f)
	p.Prefill.decay(f)
	for i := range p.Failed {
		p.Failed[i] *= f
	}
	p.Seen = now // also when a clock went back
}

func (p *peer) served(now time.Time, line inference.Line, units uint64, d time.Duration) {
	p.at(now)
	if now.Sub(p.Slot) >= servedSlot || now.Before(p.Slot) {
		p.Slot = now
		p.Up += servedSlot.Seconds()
	}
	if units == 0 || d <= 0 || line == inference.LineCached {
		return
	}
	if line == inference.LineDecode {
		p.Decode.add(units, d)
	} else {
		p.Prefill.add(units, d)
	}
}

func (p *peer) failed(now time.Time, kind Failure) {
	p.at(now)
	if kind < numFailures {
		p.Down += downSeconds[kind]
		p.Failed[kind]++
	}
}

// uptime is the share of observed seconds in which the peer was up, the prior
// included: 0.8 for a peer of which nothing is known, or not lately.
func (p peer) uptime(now time.Time) float64 {
	p.at(now)
	return (Unmeasured*priorSeconds + p.Up) / (priorSeconds + p.Up + p.Down)
}

// rates returns the measured rates, 0 where unmeasured.
func (p peer) rates(now time.Time) inference.Rates {
	p.at(now)
	return inference.Rates{Decode: p.Decode.value(), Prefill: p.Prefill.value()}
}

// Speed is min(1, median ÷ own) over the measured rates of a model's peers, own
// among them; of two in the middle the mean counts. With less than two measured
// peers, or none of its own, it is Unmeasured. Milliseconds per token·block; 0
// is unmeasured.
func Speed(own float64, all []float64) float64 {
	measured := make([]float64, 0, len(all))
	for _, x := range all {
		if x > 0 {
			measured = append(measured, x)
		}
	}
	if own <= 0 || len(measured) < 2 {
		return Unmeasured
	}
	return min(1, median(measured)/own)
}
