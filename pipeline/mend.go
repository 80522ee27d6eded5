package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

const (
	openTimeout = 5 * time.Second // from Open to Opened; a stage tries its edge for 2 s
	dialTimeout = 3 * time.Second // to reach a hop
)

// mend makes the route fit for the next step: nothing when it is whole; else a
// new route under a higher epoch, with every branch's KV restored.
func (s *Session) mend(ctx context.Context, groups []Group) error {
	if s.ready && !s.dirty {
		return nil
	}
	if err := s.sweep(ctx); err != nil {
		return err
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
	if err := s.cramped(from); err != nil {
		return err
	}
	if from > 0 {
		if err := s.restore(ctx, from-1); err != nil {
			return err
		}
	}
	s.ready, s.dirty = true, false
	info := s.Route()
	s.p.parts.Log.Info("route", "session", s.id.String()[:8], "epoch", s.epoch, "route", info.String())
	if e := s.p.parts.Events.Routed; e != nil {
		e(s.id, info)
	}
	return nil
}

// sweep takes the events that have come, so that all peers known to be lost
// are replaced at once.
func (s *Session) sweep(ctx context.Context) error {
	for {
		ev, ok, err := s.box.take(ctx, 0)
		if err != nil || !ok {
			return err
		}
		if he, ok := s.handle(ev).(*HopError); ok {
			s.condemn(he)
		}
	}
}

// openAll opens every hop under the next epoch and waits for all of them. Hops
// from restore on keep their branches.
func (s *Session) openAll(ctx context.Context, hops []*hop, restore int, groups []Group) error {
	s.withdraw()
	bad := map[inference.PeerID]bool{}
	for _, h := range s.hops {
		bad[h.Peer()] = h.bad && !h.full
	}
	s.epoch++
	s.hops, s.seq, s.window, s.ready = hops, 0, s.windowBytes(), false
	clear(s.waiting)
	if s.room.tight {
		s.alive = time.Now() // it has waited for pages, not for a hop
	}
	chain := make([]inference.PeerID, len(hops))
	for i, h := range hops {
		chain[i] = h.Peer()
		h.opened, h.direct, h.bad, h.full, h.held, h.asked = false, false, false, false, nil, 0
		h.progress, h.counted = wire.Progress{}, 0
		h.since, h.behind, h.owing, h.news = time.Time{}, time.Time{}, time.Time{}, time.Now()
		if _, err := rand.Read(h.in[:]); err != nil {
			return err
		}
	}
	s.dismiss(chain, bad)
	if err := s.connect(ctx); err != nil {
		return err
	}
	for i, h := range hops {
		m, err := s.openMessage(i, i >= restore, groups)
		if err != nil {
			return err
		}
		if err := s.begin(h.Peer(), m); err != nil {
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

// dismiss closes the session at the peers that are not in chain, which replaces
// theirs; bad are those that have failed.
func (s *Session) dismiss(chain []inference.PeerID, bad map[inference.PeerID]bool) {
	for _, peer := range s.enter(chain) {
		if slices.Contains(chain, peer) {
			continue
		}
		outcome := inference.OutcomeOK // it did what it was asked
		if bad[peer] {
			outcome = inference.OutcomeNodeFault
		}
		_ = s.p.parts.Links.Send(peer, &wire.Frame{Message: &wire.Close{Session: s.id, Outcome: outcome}})
	}
}

// enter makes chain the session's peers under the new epoch and returns those
// it had before.
func (s *Session) enter(chain []inference.PeerID) (before []inference.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.chain
	s.chain, s.current, s.held = chain, s.epoch, make([]int64, len(chain)+1)
	s.passed = make([]uint64, len(chain))
	return before
}

// begin sends an Open, unless the session was closed: no Open follows a Close.
func (s *Session) begin(to inference.PeerID, m *wire.Open) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.p.parts.Links.Send(to, &wire.Frame{Message: m})
}

// connect brings up the links to all hops at once. It returns the failure of
// the first hop that is not reached; the others are noted too.
func (s *Session) connect(ctx context.Context) error {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	errs := make([]error, len(s.hops))
	var wg sync.WaitGroup
	for i, h := range s.hops {
		wg.Go(func() { errs[i] = s.p.parts.Links.Connect(dial, h.Peer()) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var first *HopError
	for i, err := range errs {
		switch {
		case err == nil:
		case first == nil:
			first = s.hopError(i, FailDead, err)
		default:
			s.condemn(s.hopError(i, FailDead, err))
		}
	}
	if first == nil {
		return nil
	}
	return first
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
	h.relayed = m.Relay
	voucher, err := s.openAccount(h, keep, groups)
	if err != nil {
		return nil, fmt.Errorf("hop %d blocks %s peer %s: %w", i+1, h.Blocks, h.Peer().Short(), err)
	}
	m.Voucher = voucher
	return m, nil
}

func (s *Session) opened(h *hop, m *wire.Opened) {
	h.opened, h.direct, h.held, h.free = true, m.Direct, m.Branches, int(m.Load.FreePages)
	h.account.open()
	if purse := s.p.parts.Purse; purse != nil {
		s.p.parts.Exchange.claim(h.Peer(), h.Offer.Record.Signer, purse)
	}
	s.resumed(h, m.Receipt)
}
