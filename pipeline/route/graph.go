package route

import (
	"math"
	"slices"
	"time"

	"github.com/farlabs/inference"
)

// graph is what the shortest path runs over. A state is (boundary, offer): the
// chain covers all blocks below the boundary, and the offer computed the last
// of them. Boundaries are the only places where a good route changes peers:
// where some offer starts or ends.
type graph struct {
	offers []inference.Offer
	bounds []int     // ascending, first and last of the needed range included
	block  []float64 // ms per block for one session position mix, by offer
	wei    []float64 // price per block of one decoded token, by offer
	rtt    []float64 // one way from the client, ms, by offer
	index  map[inference.PeerID]int
	fit    []int   // the most blocks of one role for which the offer has KV pages
	from   []int   // the first boundary where a role of the offer may begin …
	to     []int   // … and the one after the last
	steps  float64 // network round trips that a session takes, at least 1
}

func newGraph(offers []inference.Offer, need Need, pages int, free bool) *graph {
	g := &graph{offers: offers, from: make([]int, len(offers)), to: make([]int, len(offers)), steps: float64(max(need.Decode, 1)), index: map[inference.PeerID]int{}}
	set := map[int]bool{need.Blocks.Start: true, need.Blocks.End: true}
	for i, o := range offers {
		span := o.Record.Blocks
		ends := []int{span.Start, span.End}
		g.fit = append(g.fit, fit(&o, pages, free))
		if n := g.fit[i]; n > 0 && n < span.Len() {
			// It may serve a part of its span from either end.
			ends = append(ends, max(span.Start, need.Blocks.Start)+n, min(span.End, need.Blocks.End)-n)
		}
		for _, b := range ends {
			if b > need.Blocks.Start && b < need.Blocks.End {
				set[b] = true
			}
		}
		g.index[o.Record.Peer] = i
		g.block = append(g.block, blockTime(&o, need))
		g.wei = append(g.wei, weiFloat(o.Record.Quote.Dearest()))
		rtt := o.RTT
		if rtt <= 0 {
			rtt = unknownRTT
		}
		g.rtt = append(g.rtt, ms(rtt)/2)
	}
	for b := range set {
		g.bounds = append(g.bounds, b)
	}
	slices.Sort(g.bounds)
	return g
}

// fit returns the most blocks of one role for which an offer has KV pages.
func fit(o *inference.Offer, pages int, free bool) int {
	n := o.Record.Blocks.Len()
	if pages <= 0 {
		return n
	}
	if o.Pages > 0 {
		n = min(n, o.Pages/pages)
	}
	if free && o.Load != nil {
		n = min(n, o.Load.FreePages/pages)
	}
	return n
}

// blockTime returns the expected milliseconds that the session spends in one
// block of the offer.
func blockTime(o *inference.Offer, need Need) float64 {
	r := o.Effective()
	if r.Decode <= 0 {
		r.Decode = unknownDecode
	}
	if r.Prefill <= 0 {
		r.Prefill = unknownPrefill
	}
	t := float64(max(need.Decode, 1))*r.Decode + float64(need.Prefill)*r.Prefill
	busy := 1.0
	if o.Load != nil {
		// Rows that wait are served in passes together with ours: each costs a
		// fraction of its own time.
		busy += 0.25 * float64(min(o.Load.Queue, 64))
	}
	return t * busy * stretch(o.Score) * jitter(need.Salt, o.Record.Peer)
}

// Estimate returns the expected milliseconds that a session spends on one block
// of the offer: its time there, and the block's share of the network delay.
func Estimate(o *inference.Offer, need Need) float64 {
	rtt := o.RTT
	if rtt <= 0 {
		rtt = unknownRTT
	}
	network := ms(rtt) * float64(max(need.Decode, 1)) / float64(max(o.Record.Blocks.Len(), 1))
	return blockTime(o, need) + network
}

// edge returns the one-way delay from offer i to offer j, ms: what i measured,
// else the larger of the client's delays to the two.
func (g *graph) edge(i, j int) float64 {
	if v, ok := g.offers[i].Record.RTTs[g.offers[j].Record.Peer]; ok && v >= 0 {
		return v / 2
	}
	return max(g.rtt[i], g.rtt[j])
}

type state struct {
	cost       float64
	prev, from int // offer before, index of the boundary where this offer began
}

// plan runs the shortest path and, where a ceiling is set and exceeded, raises
// the weight of the price until the route fits it.
func (g *graph) plan(need Need) (Route, error) {
	r, ok := g.shortest(0)
	if !ok {
		return Route{}, &NoRouteError{}
	}
	if need.Ceiling.IsZero() || r.Price.Cmp(need.Ceiling) <= 0 {
		return r, nil
	}
	cheapest, ok := g.shortest(math.Inf(1))
	if !ok {
		return Route{}, &NoRouteError{}
	}
	if cheapest.Price.Cmp(need.Ceiling) > 0 {
		return Route{}, &CeilingError{Ceiling: need.Ceiling, Cheapest: cheapest.Price}
	}
	lo, hi, best := 1e-18, 1e6, cheapest
	for range 40 {
		mid := math.Sqrt(lo * hi)
		if r, ok := g.shortest(mid); ok && r.Price.Cmp(need.Ceiling) <= 0 {
			best, hi = r, mid
		} else {
			lo = mid
		}
	}
	return best, nil
}

// maxTries bounds the searches for one route.
const maxTries = 32

// shortest returns the route of least time + lambda·price; with an infinite
// lambda the cheapest one.
func (g *graph) shortest(lambda float64) (Route, bool) {
	for i := range g.from {
		g.from[i], g.to[i] = 0, len(g.bounds)
	}
	tries := maxTries
	r, cost := g.search(lambda, &tries)
	return r, !math.IsInf(cost, 1)
}

// search returns the best route whose roles begin within from and to, and its
// cost. A peer that comes up twice is given the part between too; one that has no
// room for that is tried with each of its parts alone.
func (g *graph) search(lambda float64, tries *int) (Route, float64) {
	if *tries--; *tries < 0 {
		return Route{}, math.Inf(1)
	}
	r, cost := g.cheapest(lambda)
	for _, h := range r.Hops {
		i := g.index[h.Peer()]
		if h.Blocks.Len() <= g.fit[i] {
			continue
		}
		from, to := g.from[i], g.to[i]
		first, _ := slices.BinarySearch(g.bounds, h.Blocks.Start)
		g.to[i] = first + 1
		r, cost = g.search(lambda, tries)
		g.from[i], g.to[i] = first+1, to
		if later, c := g.search(lambda, tries); c < cost {
			r, cost = later, c
		}
		g.from[i] = from
		return r, cost
	}
	return r, cost
}

// cheapest runs the shortest path. No route costs infinitely much.
func (g *graph) cheapest(lambda float64) (Route, float64) {
	n, last := len(g.offers), len(g.bounds)-1
	at := make([][]state, last+1)
	for b := range at {
		at[b] = make([]state, n)
		for i := range at[b] {
			at[b][i].cost = math.Inf(1)
		}
	}
	for b := 0; b < last; b++ {
		for j := range g.offers {
			span := g.offers[j].Record.Blocks
			if span.Start > g.bounds[b] || span.End <= g.bounds[b] || b < g.from[j] || b >= g.to[j] {
				continue
			}
			enter, prev := g.enter(at[b], b, j, lambda)
			if math.IsInf(enter, 1) {
				continue
			}
			for e := b + 1; e <= last && g.bounds[e] <= span.End && g.bounds[e]-g.bounds[b] <= g.fit[j]; e++ {
				blocks := float64(g.bounds[e] - g.bounds[b])
				c := enter + g.weigh(g.block[j]*blocks, g.wei[j]*blocks, lambda)
				if c < at[e][j].cost {
					at[e][j] = state{c, prev, b}
				}
			}
		}
	}
	end, best := -1, math.Inf(1)
	for i := range g.offers {
		if c := at[last][i].cost + g.weigh(g.rtt[i]*g.steps, 0, lambda); c < best {
			end, best = i, c
		}
	}
	if end < 0 {
		return Route{}, best
	}
	return g.trace(at, end), best
}

func (g *graph) enter(at []state, b, j int, lambda float64) (cost float64, prev int) {
	hop := float64(hopOverhead) / 1e6
	if b == 0 {
		return g.weigh((g.rtt[j]+hop)*g.steps, 0, lambda), -1
	}
	cost, prev = math.Inf(1), -1
	for i := range g.offers {
		if i == j || math.IsInf(at[i].cost, 1) {
			continue
		}
		if c := at[i].cost + g.weigh((g.edge(i, j)+hop)*g.steps, 0, lambda); c < cost {
			cost, prev = c, i
		}
	}
	return cost, prev
}

func (g *graph) weigh(time, price, lambda float64) float64 {
	if math.IsInf(lambda, 1) {
		return price + time*1e-9
	}
	return time + lambda*price*g.steps
}

// trace reads the route back. Where a peer comes up twice, the part between is
// given to it too: its span is one range, and one session has one role there.
func (g *graph) trace(at [][]state, end int) Route {
	var r Route
	b, i := len(g.bounds)-1, end
	for i >= 0 {
		s := at[b][i]
		r.Hops = append(r.Hops, Hop{g.offers[i], inference.BlockRange{Start: g.bounds[s.from], End: g.bounds[b]}})
		b, i = s.from, s.prev
	}
	slices.Reverse(r.Hops)
	for x := 0; x < len(r.Hops); x++ {
		for y := len(r.Hops) - 1; y > x; y-- {
			if r.Hops[x].Peer() == r.Hops[y].Peer() {
				r.Hops[x].Blocks.End = r.Hops[y].Blocks.End
				r.Hops = slices.Delete(r.Hops, x+1, y+1)
				break
			}
		}
	}
	g.total(&r)
	return r
}

func (g *graph) total(r *Route) {
	t, prev := 0.0, -1
	for _, h := range r.Hops {
		i := g.index[h.Peer()]
		rates := h.Offer.Effective()
		if rates.Decode <= 0 {
			rates.Decode = unknownDecode
		}
		if prev < 0 {
			t += g.rtt[i]
		} else {
			t += g.edge(prev, i)
		}
		t += rates.Decode * float64(h.Blocks.Len())
		prev = i
		if c, ok := h.Offer.Record.Quote.Dearest().Mul(uint64(h.Blocks.Len())); ok {
			if sum, ok := r.Price.Add(c); ok {
				r.Price = sum
			}
		}
	}
	t += g.rtt[prev]
	r.Token = time.Duration(t * 1e6)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// weiFloat converts an amount to a float64, exact enough for weighing.
func weiFloat(w inference.Wei) float64 { return float64(w.Hi)*math.Exp2(64) + float64(w.Lo) }
