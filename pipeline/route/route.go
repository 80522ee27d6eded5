// Package route chooses the chain of peers that will serve a session.
//
// In: offers (what is known of each node), and a [Need]: which model, how many
// blocks, how much work, which peers to avoid, what it may cost. Out: a
// [Route], the hops in order, whose block ranges join up to the whole model.
// [Plan] is a pure function: no dialling, no clock, no randomness but the
// caller's salt.
//
// Plan minimises the expected time of the session: for each hop the network
// delay to it and its measured milliseconds per token·block, stretched by its
// queue and by a poor rating. A node may be given a part of the blocks that it
// hosts. Every hop of a route has the same digest and the same numerics class.
package route

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/farlabs/inference"
)

// Defaults for what has not been measured.
const (
	unknownRTT     = 40 * time.Millisecond
	unknownDecode  = 1.0 // ms per token·block
	unknownPrefill = 0.5 // ms per token·block
	hopOverhead    = 500 * time.Microsecond
	maxOffers      = 256 // considered; the best rated ones
)

// Need says what a route is for.
type Need struct {
	Digest inference.Digest
	Class  inference.NumericsClass // "": any, but the same for all hops
	Blocks inference.BlockRange    // what the chain must cover; 0:Total of the model
	// Prefill and Decode are the positions expected, which weigh the two rates.
	Prefill, Decode int
	Avoid           map[inference.PeerID]bool
	// Pages are the KV pages, for each block, that the session is expected to
	// fill, and Least those without which its next step cannot be done. Routes whose hops have room for Pages, or as much of it as can be
	// had, are preferred; one without room for Least is none. Zero: not asked.
	Pages, Least int
	// Ceiling bounds the price of one token over all hops, at each node's dearest
	// line; zero: no bound.
	Ceiling inference.Wei
	// Salt breaks ties between equal nodes differently for each session.
	Salt uint64
}

// Hop is one peer of a route and the blocks it is to compute.
type Hop struct {
	Offer  inference.Offer
	Blocks inference.BlockRange
}

// Peer returns the peer of the hop.
func (h Hop) Peer() inference.PeerID { return h.Offer.Record.Peer }

// Route is a chain of hops in the order of their blocks.
type Route struct {
	Hops []Hop
	// Token is the expected time of one decoded token, network included.
	Token time.Duration
	// Price of one token over all hops, at the dearest lines.
	Price inference.Wei
}

// String returns "…peerA 0:10 → …peerB 10:30".
func (r Route) String() string {
	parts := make([]string, len(r.Hops))
	for i, h := range r.Hops {
		parts[i] = fmt.Sprintf("%s %s", h.Peer().Short(), h.Blocks)
	}
	return strings.Join(parts, " → ")
}

// NoRouteError says which blocks nobody usable serves.
type NoRouteError struct {
	Missing []inference.BlockRange
	Nodes   int // usable nodes that were considered
}

// Error implements error.
func (e *NoRouteError) Error() string {
	parts := make([]string, len(e.Missing))
	for i, m := range e.Missing {
		parts[i] = m.String()
	}
	blocks := strings.Join(parts, ", ")
	if e.Nodes == 0 {
		return fmt.Sprintf("no node serves this model, blocks %s are missing", blocks)
	}
	return fmt.Sprintf("no node serves blocks %s", blocks)
}

// CeilingError says that every route costs more than the caller allows.
type CeilingError struct {
	Ceiling, Cheapest inference.Wei // per token over all hops
}

// Error implements error.
func (e *CeilingError) Error() string {
	return fmt.Sprintf("price ceiling: the cheapest route costs %s wei per token, the ceiling is %s", e.Cheapest, e.Ceiling)
}

// RoomError says that the KV caches of every route are too small for the session.
type RoomError struct {
	Pages int // of each block, that it needs
	Most  int // that a route has
	Nodes int // usable nodes that were considered
}

// Error implements error.
func (e *RoomError) Error() string {
	return fmt.Sprintf("no room: %d KV pages of each block are needed, the nodes have at most %d", e.Pages, e.Most)
}

// Plan returns the best route for need, a *NoRouteError, a *RoomError or a
// *CeilingError.
func Plan(offers []inference.Offer, need Need) (Route, error) {
	if need.Least <= 0 {
		return plan(offers, need, 0, false)
	}
	for _, free := range []bool{true, false} {
		if free && !slices.ContainsFunc(offers, func(o inference.Offer) bool { return o.Load != nil }) {
			continue
		}
		for pages := max(need.Pages, need.Least); ; pages = max(pages/2, need.Least) {
			r, err := plan(offers, need, pages, free)
			if err == nil {
				return r, nil
			}
			if pages > need.Least {
				continue
			}
			if free {
				break
			}
			return Route{}, roomless(offers, need, err)
		}
	}
	panic("route: unreachable")
}

// roomless explains why there is no route with room for need.Least: err, unless
// there would be one without that.
func roomless(offers []inference.Offer, need Need, err error) error {
	none, ok := err.(*NoRouteError)
	if !ok {
		return err
	}
	if _, whole := plan(offers, need, 0, false); whole != nil {
		return whole
	}
	most, less := 0, need.Least // the most pages that some route has, and too many
	for less-most > 1 {
		pages := (most + less) / 2
		if _, err := plan(offers, need, pages, false); err == nil {
			most = pages
		} else {
			less = pages
		}
	}
	return &RoomError{Pages: need.Least, Most: most, Nodes: none.Nodes}
}

// plan returns the best route whose hops have room for so many KV pages of each
// block, free ones where a hop's load is known and free is set.
func plan(offers []inference.Offer, need Need, pages int, free bool) (Route, error) {
	classes := map[inference.NumericsClass][]inference.Offer{}
	var usable []inference.Offer
	for _, o := range offers {
		r := &o.Record
		if r.Digest != need.Digest || r.State != inference.StateServing || need.Avoid[r.Peer] ||
			need.Class != "" && r.Class != need.Class || !r.Blocks.Overlaps(need.Blocks) {
			continue
		}
		usable = append(usable, o)
		classes[r.Class] = append(classes[r.Class], o)
	}
	best, found := Route{}, false
	var ceiling *CeilingError
	for _, class := range sortedKeys(classes) {
		g := newGraph(limit(classes[class]), need, pages, free)
		r, err := g.plan(need)
		if c, ok := err.(*CeilingError); ok && (ceiling == nil || c.Cheapest.Cmp(ceiling.Cheapest) < 0) {
			ceiling = c
		}
		if err == nil && (!found || r.Token < best.Token) {
			best, found = r, true
		}
	}
	switch {
	case found:
		return best, nil
	case ceiling != nil:
		return Route{}, ceiling
	}
	return Route{}, &NoRouteError{Missing: missing(usable, need.Blocks), Nodes: len(usable)}
}

// missing lists the blocks of want that no offer covers. With several classes
// each may have its own gap; the union of coverage is what people can act on,
// and when that is whole the whole range is named.
func missing(offers []inference.Offer, want inference.BlockRange) []inference.BlockRange {
	var gaps []inference.BlockRange
	for b := want.Start; b < want.End; b++ {
		one := inference.BlockRange{Start: b, End: b + 1}
		if slices.ContainsFunc(offers, func(o inference.Offer) bool { return o.Record.Blocks.Contains(one) }) {
			continue
		}
		if n := len(gaps); n > 0 && gaps[n-1].End == b {
			gaps[n-1].End++
		} else {
			gaps = append(gaps, one)
		}
	}
	if len(gaps) == 0 {
		gaps = []inference.BlockRange{want}
	}
	return gaps
}

func limit(offers []inference.Offer) []inference.Offer {
	slices.SortFunc(offers, func(a, b inference.Offer) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return strings.Compare(string(a.Record.Peer), string(b.Record.Peer))
	})
	return offers[:min(len(offers), maxOffers)]
}

func sortedKeys(m map[inference.NumericsClass][]inference.Offer) []inference.NumericsClass {
	keys := make([]inference.NumericsClass, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// jitter is a factor in [1, 1.02) that depends on salt and peer alone, so that
// clients do not all choose the first of several equal nodes.
func jitter(salt uint64, peer inference.PeerID) float64 {
	h := salt ^ 0x9e3779b97f4a7c15
	for i := 0; i < len(peer); i++ {
		h = (h ^ uint64(peer[i])) * 0x100000001b3
	}
	h ^= h >> 31
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 29
	return 1 + 0.02*float64(h>>11)/float64(1<<53)
}

// stretch is the factor by which a rating lengthens the expected time: 1 for a
// perfect peer, 2 for one of score 0.5, at most 10.
func stretch(score float64) float64 {
	if math.IsNaN(score) || score < 0.1 {
		return 10
	}
	return 1 / min(score, 1)
}
