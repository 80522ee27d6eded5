package pricing

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/farlabs/inference"
)

// WeiPerUSD is the development rate: 1 FAR = 10¹⁸ wei = 1 USD. It holds until
// there is a chain and a price oracle.
const WeiPerUSD = 1_000_000_000_000_000_000

// CachedPercent is what a cached position costs, percent of the list price.
const CachedPercent = 10

// maxUSD bounds a price, USD per 1M tokens; far above any, far below overflow.
const maxUSD = 1e9

// ErrPrice is wrapped by errors about a price that cannot be used.
var ErrPrice = errors.New("unusable price")

// FromUSD returns the wei of usd at the development rate, rounded to 10⁻⁹ USD.
func FromUSD(usd float64) (inference.Wei, error) {
	if math.IsNaN(usd) || usd < 0 || usd > maxUSD {
		return inference.Wei{}, fmt.Errorf("%w: %v USD, want 0 to %.0f", ErrPrice, usd, float64(maxUSD))
	}
	w, _ := inference.WeiOf(uint64(math.Round(usd * 1e9))).Mul(WeiPerUSD / 1e9)
	return w, nil
}

// ToUSD returns w in USD at the development rate, for people.
func ToUSD(w inference.Wei) float64 {
	f, _ := new(big.Rat).SetFrac(w.Big(), big.NewInt(WeiPerUSD)).Float64()
	return f
}

// Quote returns the quote of a node that asks usd per 1M tokens over all
// blocks of a model of that many blocks. Prefill, decode, draft and recovery
// are at list price, cached at CachedPercent of it. Wei are rounded down, so
// that a chain of such nodes never comes to more than usd.
func Quote(usd float64, blocks int) (q inference.Quote, err error) {
	if blocks < 1 || blocks > inference.MaxBlocks {
		return q, fmt.Errorf("%w: model of %d blocks", ErrPrice, blocks)
	}
	perMillion, err := FromUSD(usd)
	if err != nil {
		return q, err
	}
	list := divide(perMillion, 1_000_000*uint64(blocks))
	cached, _ := list.Mul(CachedPercent)
	for i := range q {
		q[i] = list
	}
	q[inference.LineCached] = divide(cached, 100)
	return q, nil
}

func divide(w inference.Wei, n uint64) inference.Wei {
	q, _ := inference.WeiFromBig(new(big.Int).Div(w.Big(), new(big.Int).SetUint64(n)))
	return q
}

// Hop is one hop of a route: its quote and how many blocks it computes.
type Hop struct {
	Quote  inference.Quote
	Blocks int
}

// PerMillion returns what 1M tokens cost over the hops, in wei: of each hop the
// dearest line counts, so that no line can hide a price. ok is false when the
// sum does not fit 128 bits.
func PerMillion(hops ...Hop) (sum inference.Wei, ok bool) {
	for _, h := range hops {
		cost, ok1 := h.Quote.Dearest().Mul(1_000_000 * uint64(max(h.Blocks, 0)))
		s, ok2 := sum.Add(cost)
		if !ok1 || !ok2 {
			return inference.Wei{}, false
		}
		sum = s
	}
	return sum, true
}
