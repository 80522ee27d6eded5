package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment/pricing"
	"github.com/farlabs/inference/pipeline/route"
)

const (
	loadTimeout = 300 * time.Millisecond // for the load of candidates
	shortlist   = 12                     // candidates whose load is asked
)

// avoided says how a session thinks of a peer that failed it.
type avoided struct {
	rather time.Time // until then anybody else is asked first …
	never  time.Time // … and until then it is not asked at all
	times  int       // that it was shunned in this session
	faults int       // of them, those that were a failure of its own
}

// maxFaults is how often a peer may fail a session before anybody else is asked
// first for the rest of the session's life.
const maxFaults = 2

// shun has a peer avoided: others are preferred for rather, and it is left
// alone for never, longer every time that it fails again.
func (s *Session) shun(peer inference.PeerID, rather, never time.Duration) {
	a := s.avoid[peer]
	now := time.Now()
	never = min(never<<min(a.times, 8), max(never, 10*time.Second))
	s.avoid[peer] = avoided{rather: now.Add(rather), never: now.Add(never), times: a.times + 1, faults: a.faults}
}

// rest leaves a peer alone until its load is asked for again.
func (s *Session) rest(peer inference.PeerID) {
	a, now := s.avoid[peer], time.Now()
	if until := now.Add(loadEvery); until.After(a.never) {
		a.never = until
	}
	if until := now.Add(2 * time.Second); until.After(a.rather) {
		a.rather = until
	}
	s.avoid[peer] = a
}

// distrust is shun for a peer that has failed, not merely been busy or leaving.
func (s *Session) distrust(peer inference.PeerID, rather, never time.Duration) {
	s.shun(peer, rather, never)
	a := s.avoid[peer]
	a.faults++
	s.avoid[peer] = a
}

// plan returns the hops of the next route and how many of them, from the
// first, have to be restored; those after keep their KV. It waits for peers
// while the session's timeout lasts.
func (s *Session) plan(ctx context.Context) (hops []*hop, restore int, err error) {
	for {
		changed := s.p.parts.Directory.Changed()
		hops, restore, err = s.planNow(ctx)
		if err == nil && s.dirty {
			restore = len(hops)
		}
		if err == nil {
			he := s.full(ctx, hops, restore)
			if he == nil {
				return hops, restore, nil
			}
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			s.rest(he.Peer)
			continue // others may have room
		}
		var ceiling *route.CeilingError
		if errors.As(err, &ceiling) {
			return nil, 0, &priceError{ceiling}
		}
		if small := s.noRoom(err); small != nil {
			return nil, 0, small
		}
		left := s.opts.Timeout - time.Since(s.progress)
		if left <= 0 {
			return nil, 0, s.unroutable(err)
		}
		s.waits(err)
		s.waitForRoom()
		timer := time.NewTimer(min(left, s.nextChance()))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, 0, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// usdPerMillion converts wei per token at the development rate.
func usdPerMillion(w inference.Wei) float64 { return 1e6 * pricing.ToUSD(w) }

// nextChance is when a peer that is avoided may be tried again.
func (s *Session) nextChance() time.Duration {
	wait := 500 * time.Millisecond
	for _, a := range s.avoid {
		if d := time.Until(a.never); d > 0 {
			wait = min(wait, max(d, 20*time.Millisecond))
		}
	}
	return wait
}

// waits tells that there is no route now, and why.
func (s *Session) waits(why error) {
	e := s.p.parts.Events.Waiting
	if e == nil {
		return
	}
	if n := len(s.failures); n > 0 && s.failures[n-1].Kind == FailBusy {
		why = busy(s.failures[n-1])
	}
	e(s.id, why)
}

func (s *Session) unroutable(err error) error {
	if n := len(s.failures); n > 0 {
		if he := s.failures[n-1]; he.Kind == FailBusy {
			return busy(he)
		}
		return fmt.Errorf("%w for %s: %w (before that: %w)", ErrNoRoute, s.opts.Timeout, err, s.failures[n-1])
	}
	return fmt.Errorf("%w for %s: %w", ErrNoRoute, s.opts.Timeout, err)
}

// planNow plans with what is known: without the peers that have failed if that
// is possible, else with those of them that may have come back.
func (s *Session) planNow(ctx context.Context) ([]*hop, int, error) {
	now := time.Now()
	// Whom not to ask: from those that had better not be asked to those that
	// cannot be now.
	var avoid [3]map[inference.PeerID]bool
	for i := range avoid {
		avoid[i] = map[inference.PeerID]bool{}
	}
	for peer, a := range s.avoid {
		never, faulty, rather := now.Before(a.never), a.faults >= maxFaults, now.Before(a.rather)
		for i, out := range []bool{never || faulty || rather, never || faulty, never} {
			if out {
				avoid[i][peer] = true
			}
		}
	}
	need := route.Need{
		Digest: s.p.parts.Digest, Class: s.class, Blocks: inference.BlockRange{Start: 0, End: s.p.parts.Blocks},
		Prefill: s.opts.ExpectPrompt, Decode: s.opts.ExpectTokens,
		Pages: pagesFor(s.opts.ExpectLength), Least: s.room.least,
		Avoid: avoid[0], Ceiling: s.opts.Ceiling, Salt: s.salt,
	}
	offers := s.offers(ctx, need)
	hops, restore, err := s.planFrom(offers, need)
	for i := 1; err != nil && i < len(avoid); i++ {
		if len(avoid[i]) == len(avoid[i-1]) {
			continue
		}
		need.Avoid = avoid[i]
		if hops, restore, again := s.planFrom(offers, need); again == nil {
			return hops, restore, nil
		}
	}
	var small *route.RoomError
	if errors.As(err, &small) {
		need.Avoid = map[inference.PeerID]bool{}
		if _, _, wait := s.planFrom(offers, need); wait == nil {
			// Those who have room are only to be left alone for a while.
			err = &route.NoRouteError{Missing: []inference.BlockRange{need.Blocks}, Nodes: small.Nodes}
		}
	}
	return hops, restore, err
}

func (s *Session) planFrom(offers []inference.Offer, need route.Need) ([]*hop, int, error) {
	if hops, restore, ok := s.patch(offers, need); ok {
		return hops, restore, nil
	}
	r, err := route.Plan(offers, need)
	if err != nil {
		return nil, 0, err
	}
	return newHops(r.Hops), len(r.Hops), nil
}

// patch keeps the route but for the hops that have failed, whose blocks go to
// others: nothing moves that need not. What comes after the last of them keeps
// its KV.
func (s *Session) patch(offers []inference.Offer, need route.Need) ([]*hop, int, bool) {
	if len(s.hops) == 0 {
		return nil, 0, false
	}
	need.Avoid = maps.Clone(need.Avoid)
	for _, h := range s.hops {
		if h.bad {
			continue
		}
		need.Avoid[h.Peer()] = true
		if !need.Ceiling.IsZero() {
			cost, _ := h.Offer.Record.Quote.Dearest().Mul(uint64(h.Blocks.Len()))
			left, ok := need.Ceiling.Sub(cost)
			if !ok || left.IsZero() {
				return nil, 0, false
			}
			need.Ceiling = left
		}
	}
	var hops []*hop
	restore := 0
	for i := 0; i < len(s.hops); i++ {
		if !s.hops[i].bad {
			hops = append(hops, s.hops[i])
			continue
		}
		need.Blocks = s.hops[i].Blocks
		for i+1 < len(s.hops) && s.hops[i+1].bad { // neighbours are replaced as one
			i++
			need.Blocks.End = s.hops[i].Blocks.End
		}
		r, err := route.Plan(offers, need)
		if err != nil {
			return nil, 0, false
		}
		for _, n := range r.Hops {
			need.Avoid[n.Peer()] = true
		}
		if !need.Ceiling.IsZero() {
			left, ok := need.Ceiling.Sub(r.Price)
			if !ok || left.IsZero() {
				left = inference.WeiOf(1)
			}
			need.Ceiling = left
		}
		hops = append(hops, newHops(r.Hops)...)
		restore = len(hops)
	}
	return hops, restore, true
}

func newHops(l []route.Hop) []*hop {
	hops := make([]*hop, len(l))
	for i := range l {
		hops[i] = &hop{Hop: l[i]}
	}
	return hops
}

// offers joins what is known of each node: record, round trip, rating, and
// the load that the shortlisted ones tell now.
func (s *Session) offers(ctx context.Context, need route.Need) []inference.Offer {
	records := s.p.parts.Directory.Records(need.Digest)
	offers := make([]inference.Offer, 0, len(records))
	for _, r := range records {
		offers = append(offers, inference.Offer{
			Record: r, Pages: s.pagesAt(&r), RTT: s.p.parts.Directory.RTT(r.Peer),
			Score: s.p.parts.Scores.Score(r.Peer), Observed: s.p.parts.Scores.Observed(r.Peer),
		})
	}
	// With one candidate per block range there is nothing to choose; with a
	// session at a standstill there is no time to ask.
	if len(s.hops) > 0 || !overlapping(records) {
		return offers
	}
	if ask := candidates(offers, need); len(ask) > 1 {
		assign(offers, s.p.parts.Exchange.Loads(ctx, ask, loadTimeout))
	}
	return offers
}

// candidates returns the peers whose load is asked: those that would be the
// fastest if nobody had anything to do.
func candidates(offers []inference.Offer, need route.Need) []inference.PeerID {
	type candidate struct {
		peer inference.PeerID
		ms   float64
	}
	var all []candidate
	for i := range offers {
		o := &offers[i]
		r := &o.Record
		if r.State != inference.StateServing || need.Avoid[r.Peer] || need.Class != "" && r.Class != need.Class || !r.Blocks.Overlaps(need.Blocks) {
			continue
		}
		all = append(all, candidate{r.Peer, route.Estimate(o, need)})
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.ms, b.ms) })
	var ask []inference.PeerID
	for _, c := range all[:min(len(all), shortlist)] {
		ask = append(ask, c.peer)
	}
	return ask
}

// assign gives offers their loads. One whose load is not known counts as no
// less busy than the others usually are.
func assign(offers []inference.Offer, loads map[inference.PeerID]inference.Load) {
	if len(loads) == 0 {
		return
	}
	var queues []int
	for _, l := range loads {
		queues = append(queues, l.Queue)
	}
	slices.Sort(queues)
	usual := inference.Load{Queue: queues[len(queues)/2]}
	for i := range offers {
		l, ok := loads[offers[i].Record.Peer]
		if !ok {
			l = usual
		}
		offers[i].Load = &l
	}
}

func overlapping(records []inference.NodeRecord) bool {
	for i := range records {
		for j := range i {
			if records[i].Blocks.Overlaps(records[j].Blocks) {
				return true
			}
		}
	}
	return false
}
