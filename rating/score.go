package rating

import (
	"math"
	"math/big"
	"slices"

	"github.com/farlabs/inference"
)

// Unmeasured is the value of a term that nobody has measured.
const Unmeasured = 0.8

// Terms are what a score is made of, each in [0,1].
type Terms struct {
	Uptime       float64 `json:"uptime"`
	Speed        float64 `json:"speed"`
	Accuracy     float64 `json:"accuracy"`     // of audits; Unmeasured until there are any
	Satisfaction float64 `json:"satisfaction"` // of users; Unmeasured until they are asked
}

// Base is the weighted sum of the terms, in [0,1].
func (t Terms) Base() float64 {
	return 0.4*unit(t.Uptime) + 0.3*unit(t.Speed) + 0.2*unit(t.Accuracy) + 0.1*unit(t.Satisfaction)
}

// unit clamps x to [0,1]; what is no number counts as unmeasured.
func unit(x float64) float64 {
	if math.IsNaN(x) {
		return Unmeasured
	}
	return min(max(x, 0), 1)
}

// Adjustment is the share by which a base score moves pay, −0.10 to +0.10.
func Adjustment(base float64) float64 {
	return min(max((unit(base)-Unmeasured)*0.5, -0.10), 0.10)
}

// Pay is basePay · (1 + adj), adj clamped to ±0.10 and taken in steps of 10⁻⁹,
// rounded down to a wei. A result beyond 128 bits is the largest amount.
func Pay(basePay inference.Wei, adj float64) inference.Wei {
	if math.IsNaN(adj) {
		adj = 0
	}
	const scale = 1_000_000_000
	factor := scale + int64(math.Round(min(max(adj, -0.10), 0.10)*scale))
	n := new(big.Int).Mul(basePay.Big(), big.NewInt(factor))
	w, ok := inference.WeiFromBig(n.Div(n, big.NewInt(scale)))
	if !ok {
		return inference.Wei{Hi: math.MaxUint64, Lo: math.MaxUint64}
	}
	return w
}

func median(x []float64) float64 {
	slices.Sort(x)
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}
