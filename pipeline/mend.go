package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment/pricing"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

const (
	openTimeout = 5 * time.Second        // from Open to Opened; a stage tries its edge for 2 s
	dialTimeout = 3 * time.Second        // to reach a hop
	loadTimeout = 300 * time.Millisecond // for the load of candidates
	shortlist   = 12                     // candidates whose load is asked
)

// mend makes the route fit for the next step: nothing when it is whole; else a
// new route under a higher epoch, with every branch's KV restored.
func (s *Session) mend(ctx context.Context, ops []wire.BranchOp, groups []Group) error {
	if s.broken == nil && len(s.hops) > 0 {
		return nil
	}
	hops, from, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if err := s.openAll(ctx, hops, from, groups); err != nil {
		return err
	}
	if at := s.short(from); at > from {
		// A hop that was to keep its KV holds less than it should: it is
		// restored like the others, under another epoch.
		from = at
		if err := s.openAll(ctx, s.hops, from, groups); err != nil {
			return err
		}
	}
	if from > 0 {
		if err := s.restore(ctx, from-1); err != nil {
			return err
		}
	}
	s.broken = nil
	info := s.Route()
	s.p.parts.Log.Info("route", "session", s.id.String()[:8], "epoch", s.epoch, "route", info.String())
	if e := s.p.parts.Events.Routed; e != nil {
		e(s.id, info)
	}
	return nil
}

// plan returns the hops of the next route and how many of them, from the
// first, have to be restored; those after keep their KV.
func (s *Session) plan(ctx context.Context) (hops []*hop, restore int, err error) {
	for {
		changed := s.p.parts.Directory.Changed()
		hops, restore, err = s.planNow(ctx)
		if err == nil {
			return hops, restore, nil
		}
		var ceiling *route.CeilingError
		if errors.As(err, &ceiling) {
			return nil, 0, fmt.Errorf("%w: the cheapest route asks %.6g USD per 1M tokens, the ceiling is %.6g: %w",
				ErrPriceCeiling, usdPerMillion(ceiling.Cheapest), usdPerMillion(ceiling.Ceiling), err)
		}
		left := s.opts.Timeout - time.Since(s.progress)
		if left <= 0 {
			return nil, 0, s.unroutable(err)
		}
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
	for _, t := range s.avoid {
		wait = min(wait, max(time.Until(t), 20*time.Millisecond))
	}
	return wait
}

func (s *Session) unroutable(err error) error {
	if n := len(s.failures); n > 0 {
		var he *HopError
		if errors.As(s.failures[n-1], &he) && he.Kind == FailBusy {
			return &BusyError{RetryAfter: 2 * time.Second, Err: he}
		}
		return fmt.Errorf("%w for %s: %w (before that: %w)", ErrNoRoute, s.opts.Timeout, err, s.failures[n-1])
	}
	return fmt.Errorf("%w for %s: %w", ErrNoRoute, s.opts.Timeout, err)
}

func (s *Session) planNow(ctx context.Context) ([]*hop, int, error) {
	now := time.Now()
	avoid := map[inference.PeerID]bool{}
	for peer, until := range s.avoid {
		if now.Before(until) {
			avoid[peer] = true
		}
	}
	need := route.Need{
		Digest: s.p.parts.Digest, Class: s.class, Blocks: inference.BlockRange{Start: 0, End: s.p.parts.Blocks},
		Prefill: s.opts.ExpectPrompt, Decode: s.opts.ExpectTokens,
		Avoid: avoid, Ceiling: s.opts.Ceiling, Salt: s.salt,
	}
	offers := s.offers(ctx, need)
	if hops, restore, ok := s.patch(offers, need); ok {
		return hops, restore, nil
	}
	r, err := route.Plan(offers, need)
	if err != nil {
		return nil, 0, err
	}
	return newHops(r.Hops), len(r.Hops), nil
}

// patch keeps the route but for the hop that is broken, whose blocks go to
// others: nothing moves that need not.
func (s *Session) patch(offers []inference.Offer, need route.Need) ([]*hop, int, bool) {
	if s.broken == nil || s.broken.Hop >= len(s.hops) {
		return nil, 0, false
	}
	if s.broken.Kind == FailEdge {
		return s.hops, 0, true // the same peers, the edge through the client
	}
	for i, h := range s.hops {
		if i != s.broken.Hop && need.Avoid[h.Peer()] {
			return nil, 0, false
		}
	}
	at := s.broken.Hop
	need.Blocks = s.hops[at].Blocks
	need.Avoid = maps.Clone(need.Avoid)
	for _, h := range s.hops {
		need.Avoid[h.Peer()] = true
	}
	if !need.Ceiling.IsZero() {
		for i, h := range s.hops {
			if i == at {
				continue
			}
			cost, _ := h.Offer.Record.Quote.Dearest().Mul(uint64(h.Blocks.Len()))
			left, ok := need.Ceiling.Sub(cost)
			if !ok || left.IsZero() {
				return nil, 0, false
			}
			need.Ceiling = left
		}
	}
	r, err := route.Plan(offers, need)
	if err != nil {
		return nil, 0, false
	}
	hops := slices.Concat(s.hops[:at:at], newHops(r.Hops), s.hops[at+1:])
	return hops, at + len(r.Hops), true
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
	var ask []inference.PeerID
	for _, r := range records {
		offers = append(offers, inference.Offer{
			Record: r, RTT: s.p.parts.Directory.RTT(r.Peer),
			Score: s.p.parts.Scores.Score(r.Peer), Observed: s.p.parts.Scores.Observed(r.Peer),
		})
		if len(ask) < shortlist && r.State == inference.StateServing && !need.Avoid[r.Peer] && len(s.hops) == 0 {
			ask = append(ask, r.Peer)
		}
	}
	// With one candidate per block range there is nothing to choose; with a
	// session at a standstill there is no time to ask.
	if len(ask) > 1 && overlapping(records) {
		loads := s.p.parts.Exchange.Loads(ctx, ask, loadTimeout)
		for i := range offers {
			if l, ok := loads[offers[i].Record.Peer]; ok {
				offers[i].Load = &l
			}
		}
	}
	return offers
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

// openAll opens every hop under the next epoch and waits for all of them. Hops
// from restore on keep their branches.
func (s *Session) openAll(ctx context.Context, hops []*hop, restore int, groups []Group) error {
	old := s.hops
	s.epoch++
	s.hops, s.seq, s.window = hops, 0, s.windowBytes()
	clear(s.waiting)
	chain := make([]inference.PeerID, len(hops))
	for i, h := range hops {
		chain[i] = h.Peer()
		h.opened, h.direct, h.held, h.asked = false, false, nil, 0
		h.progress, h.computing, h.behind, h.news = wire.Progress{}, 0, time.Time{}, time.Now()
		if _, err := rand.Read(h.in[:]); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.chain = chain
	s.mu.Unlock()
	for _, h := range old {
		if !slices.Contains(chain, h.Peer()) {
			_ = s.p.parts.Links.Send(h.Peer(), &wire.Frame{Message: &wire.Close{Session: s.id, Outcome: inference.OutcomeNodeFault}})
		}
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	for i, h := range hops {
		m, err := s.openMessage(i, i >= restore, groups)
		if err != nil {
			return err
		}
		if err := s.p.parts.Links.Send(h.Peer(), &wire.Frame{Message: m}); err != nil {
			return s.hopError(i, FailDead, err)
		}
	}
	deadline := time.Now().Add(openTimeout)
	err := s.pump(ctx, func() bool {
		return !slices.ContainsFunc(hops, func(h *hop) bool { return !h.opened }) || time.Now().After(deadline)
	})
	if err != nil {
		return err
	}
	for i, h := range hops {
		if !h.opened {
			return s.hopError(i, FailStalled, fmt.Errorf("no answer to open within %s", openTimeout))
		}
	}
	if s.class == "" {
		s.class = hops[0].Offer.Record.Class
	}
	return nil
}

// connect brings up the links to all hops at once.
func (s *Session) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	errs := make([]error, len(s.hops))
	done := make(chan struct{})
	for i, h := range s.hops {
		go func() {
			errs[i] = s.p.parts.Links.Connect(ctx, h.Peer())
			done <- struct{}{}
		}()
	}
	for range s.hops {
		<-done
	}
	for i, err := range errs {
		if err != nil {
			return s.hopError(i, FailDead, err)
		}
	}
	return nil
}

func (s *Session) openMessage(i int, keep bool, groups []Group) (*wire.Open, error) {
	h := s.hops[i]
	m := &wire.Open{
		Version: wire.Version, Session: s.id, Epoch: s.epoch, Mode: wire.ModeDecode,
		Digest: s.p.parts.Digest, Class: h.Offer.Record.Class, Wire: s.opts.Wire,
		Role: wire.Role{Blocks: h.Blocks}, Hop: uint8(i), Hops: uint8(len(s.hops)),
		In: h.in, Keep: keep, Relay: s.opts.Relay,
		Limits: wire.Limits{
			Positions: uint32(s.opts.MaxLength), Branches: uint32(s.opts.MaxBranches), Window: uint32(s.windowBytes()),
		},
		Deadline: uint64(time.Now().Add(s.opts.Lifetime).UnixMilli()),
		Quote:    h.Offer.Record.Quote,
	}
	if i > 0 {
		m.Prev = s.hops[i-1].Peer()
	}
	if i+1 < len(s.hops) {
		next := s.hops[i+1]
		m.Next, m.NextAddrs, m.Out = next.Peer(), next.Offer.Record.Addrs, next.in
		m.Relay = m.Relay || s.relay[edge{h.Peer(), next.Peer()}]
	}
	voucher, err := s.openAccount(h, keep, groups)
	if err != nil {
		return nil, fmt.Errorf("hop %d blocks %s peer %s: %w", i+1, h.Blocks, h.Peer().Short(), err)
	}
	m.Voucher = voucher
	return m, nil
}

func (s *Session) opened(h *hop, m *wire.Opened) {
	h.opened, h.direct, h.held = true, m.Direct, m.Branches
	if purse := s.p.parts.Purse; purse != nil {
		s.p.parts.Exchange.claim(h.Peer(), h.Offer.Record.Signer, purse)
	}
	if m.Receipt != nil && h.account != nil {
		s.receipt(h.Peer(), m.Receipt)
	}
}

// short returns how many hops, from the first, have to be restored so that
// every hop after holds all positions of all branches: at least restore.
func (s *Session) short(restore int) int {
	for i := len(s.hops) - 1; i >= restore; i-- {
		held := map[uint32]int{}
		for _, l := range s.hops[i].held {
			held[l.Branch] = int(l.Length)
		}
		for id, b := range s.branches {
			if held[id] < len(b.rows) {
				return i + 1
			}
		}
	}
	return restore
}

// restore computes every branch again up to hop emitAt, which fills its KV and
// passes nothing on. Branches that share a beginning are forked from the first
// that has it.
func (s *Session) restore(ctx context.Context, emitAt int) error {
	ids := slices.Sorted(maps.Keys(s.branches))
	var steps []*planned
	var made []uint32
	for _, id := range ids {
		b := s.branches[id]
		start := 0
		var ops []wire.BranchOp
		if id != 0 {
			from, shared := uint32(0), 0
			for _, other := range made {
				if n := b.common(s.branches[other]); n > shared {
					from, shared = other, n
				}
			}
			ops, start = []wire.BranchOp{Fork(from, shared, id)}, shared
		}
		made = append(made, id)
		var rows []wire.Row
		if n := len(b.rows); n > start {
			rows = []wire.Row{{
				Branch: id, Start: uint32(start), N: uint32(n - start), EmitFrom: uint32(n),
				Extent: uint32(n), Want: wire.WantNone, Line: inference.LineRecovery,
			}}
		}
		for _, p := range s.cut(ops, rows, b.rows[start:]) {
			p.fill, p.emitAt = true, uint8(emitAt)
			steps = append(steps, p)
		}
	}
	if _, ok := s.branches[0]; !ok && len(steps) > 0 {
		// A stage opens a session with branch 0; here it was dropped.
		last := steps[len(steps)-1]
		drop := &planned{ops: []wire.BranchOp{Drop(0)}, fill: true, emitAt: last.emitAt}
		steps = append(steps, drop)
	}
	return s.run(ctx, steps)
}
