package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/route"
)

// A session needs KV pages at every hop. A hop whose cache is too small for it,
// whoever else is there, is not asked again (FailSmall); one whose pages others
// have (FailBusy) is asked for its load until they are free, and only then are
// positions computed again. While it waits for one hop, a session holds no pages
// at others: two sessions that fill two nodes would wait for each other.

const (
	loadEvery = 500 * time.Millisecond // a crowded hop is asked for its load …
	letGo     = 2 * time.Second        // after so long without a place the pages at other hops are given up
)

// room is what a session knows of its need of KV pages, and of how it was met in
// the step at hand.
type room struct {
	least  int                       // pages of each block that the step cannot do without
	most   map[inference.PeerID]int  // pages that peers have at most, by their refusal
	full   map[inference.PeerID]bool // they had no room; asked for their load before the next time
	since  time.Time                 // it waits for pages since then; zero: it does not
	got    int                       // positions of the step computed on this route …
	mark   int                       // best, when a hop last had no room
	best   int                       // … and on the best one so far
	tight  bool                      // a hop had no room: computing again is no progress
	futile int                       // routes that computed and came no further for lack of pages
}

// begin takes up a step after which the session holds branches.
func (r *room) begin(branches map[uint32]*branch) {
	r.least = pagesOf(branches)
	r.got, r.best, r.mark, r.futile, r.tight, r.since = 0, 0, 0, 0, false, time.Time{}
}

func pagesFor(positions int) int { return (positions + model.PagePositions - 1) / model.PagePositions }

// pagesOf returns the KV pages of one block that hold branches, when those with
// the same beginning share its pages.
func pagesOf(branches map[uint32]*branch) (pages int) {
	ids := slices.Sorted(maps.Keys(branches))
	for n, id := range ids {
		rows, shared := branches[id].rows, 0
		for _, other := range ids[:n] {
			shared = max(shared, common(rows, branches[other].rows))
		}
		if shared == len(rows) {
			continue
		}
		pages += pagesFor(len(rows)) - shared/model.PagePositions
	}
	return pages
}

// gotOn notes that a hop got on, or that the output of p came. The session's
// timeout is about what it gets on with: after a hop had no room, positions that
// were computed before are none of it.
func (s *Session) gotOn(p *pending) {
	s.alive = time.Now()
	if p != nil && !p.fill {
		s.room.got += int(p.units)
		if s.room.got > s.room.best {
			s.room.best, s.progress = s.room.got, s.alive
		}
	}
	if !s.room.tight {
		s.progress = s.alive
	}
}

// crowded notes that a hop has no room for the session now.
func (s *Session) crowded(he *HopError) {
	r := &s.room
	if r.full == nil {
		r.full = map[inference.PeerID]bool{}
	}
	r.full[he.Peer] = true
	if r.tight && s.seq > 0 {
		r.futile++
		if r.best > r.mark {
			r.futile = 0
		}
	}
	r.tight, r.mark = true, r.best
}

// learnRoom notes that a hop's whole KV cache is too small.
func (s *Session) learnRoom(he *HopError) {
	r := &s.room
	if r.most == nil {
		r.most = map[inference.PeerID]int{}
	}
	most := he.Blocks.Len()*r.least - 1
	if before, ok := r.most[he.Peer]; ok {
		most = min(most, before)
	}
	r.most[he.Peer] = most
	r.tight = true
}

// pagesAt returns the KV pages of a node as far as they are known, 0 if they are
// not.
func (s *Session) pagesAt(r *inference.NodeRecord) int {
	pages := 0
	if of := s.p.parts.PageBytes; of != nil {
		if bytes := of(r.Class); bytes > 0 {
			pages = int(r.Memory / bytes)
		}
	}
	if most, ok := s.room.most[r.Peer]; ok && (pages <= 0 || most < pages) {
		return max(most, 1)
	}
	return pages
}

// noRoom returns the error of a session for which no node has room, or nil if
// there may be room once peers that were lost are back.
func (s *Session) noRoom(err error) error {
	var small *route.RoomError
	if !errors.As(err, &small) {
		return nil
	}
	e := &RoomError{Needed: small.Pages * model.PagePositions, Holds: small.Most * model.PagePositions, Err: err}
	for _, f := range s.failures {
		switch f.Kind {
		case FailSmall:
			e.Err = f
		case FailBusy, FailGone, FailEdge:
		default:
			if time.Since(s.progress) < s.opts.Timeout {
				return nil
			}
		}
	}
	return e
}

// enough returns the pages that have to be free at a hop before the session is
// opened there again: what it needs now and a quarter, so that it comes some way
// for what it costs to compute everything again; never more than there are.
func (s *Session) enough(h *hop) int {
	blocks := h.Blocks.Len()
	want := max(s.room.least, min(s.room.least+s.room.least/4+1, pagesFor(s.opts.ExpectLength)))
	pages := want * blocks
	if all := h.Offer.Pages; all > 0 {
		pages = min(pages, all)
	}
	return max(pages, s.room.least*blocks)
}

// full returns the first of hops, which begin with nothing up to restore, that
// had no room before and says that it has none yet; nil if there is none.
func (s *Session) full(ctx context.Context, hops []*hop, restore int) *HopError {
	var ask []inference.PeerID
	for _, h := range hops[:restore] {
		if s.room.full[h.Peer()] {
			ask = append(ask, h.Peer())
		}
	}
	if len(ask) == 0 {
		return nil
	}
	loads := s.p.parts.Exchange.Loads(ctx, ask, loadTimeout)
	for i, h := range hops[:restore] {
		l, ok := loads[h.Peer()]
		if want := s.enough(h); ok && l.FreePages < want {
			return s.noPages(h, i, want, l.FreePages)
		}
	}
	return nil
}

// cramped returns the first hop, of those that begin with nothing, that has
// fewer pages free than the next step needs; nil if there is none.
func (s *Session) cramped(restore int) error {
	for i, h := range s.hops[:restore] {
		// One that does not tell how much it has might never have enough.
		if want := s.room.least * h.Blocks.Len(); h.free < want && h.Offer.Pages > 0 {
			return s.noPages(h, i, want, h.free)
		}
	}
	return nil
}

func (s *Session) noPages(h *hop, i, want, free int) *HopError {
	return &HopError{
		Hop: i, Peer: h.Peer(), Blocks: h.Blocks, Kind: FailBusy, Retryable: true, unrated: true,
		retryAfter: loadEvery, Err: fmt.Errorf("out of KV pages: %d needed, %d free", want, free),
	}
}

// waitForRoom gives up what the session holds at other hops when it has waited
// for pages for long.
func (s *Session) waitForRoom() {
	r := &s.room
	switch now := time.Now(); {
	case !r.tight || len(s.hops) < 2:
	case r.since.IsZero():
		r.since = now
	case now.Sub(r.since) >= letGo+time.Duration(s.salt%1000)*time.Millisecond:
		r.since = time.Time{}
		s.dismiss(nil, nil)
		s.hops, s.ready = nil, false
	}
}
