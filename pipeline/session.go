package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

// SessionOptions are the limits and choices of a session.
type SessionOptions struct {
	// MaxLength is the most positions of one branch; 0: the model's context.
	MaxLength int
	// MaxBranches is the most branches alive at once; 0: 8.
	MaxBranches int
	// Wire is the dtype of the residual stream; 0: bf16.
	Wire inference.WireDType
	// Class demands a numerics class; "": the one of the first route, kept for
	// the session's life.
	Class inference.NumericsClass
	// Chunk is the most positions of one step; 0: 512.
	Chunk int
	// Timeout ends a call that makes no progress for so long; 0: 30 s.
	Timeout time.Duration
	// Lifetime is when the peers may forget a route of the session; what is
	// done later begins with a new one. 0: 1 h.
	Lifetime time.Duration
	// Ceiling bounds the price of a decoded token over all hops; zero: none.
	Ceiling inference.Wei
	// ExpectPrompt and ExpectTokens weigh prefill and decode when a route is
	// planned; 0: 128 each.
	ExpectPrompt, ExpectTokens int
	// ExpectLength is how many positions the session may come to, those of all
	// branches together: nodes whose KV cache has room for them are preferred. 0:
	// ExpectPrompt and ExpectTokens.
	ExpectLength int
	// Relay makes every edge run through the client.
	Relay bool
}

func (o SessionOptions) withDefaults(context int) SessionOptions {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.MaxLength, context)
	set(&o.MaxBranches, 8)
	set(&o.Chunk, 512)
	set(&o.ExpectPrompt, 128)
	set(&o.ExpectTokens, 128)
	set(&o.ExpectLength, o.ExpectPrompt+o.ExpectTokens)
	if o.Wire == 0 {
		o.Wire = inference.WireBF16
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	return o
}

// Session is one conversation with a chain of peers. Its methods are for one
// goroutine at a time; Close may be called from any.
type Session struct {
	p    *DistributedPipeline
	id   inference.SessionID
	opts SessionOptions
	box  *mailbox

	// Read by the links' readers, written by the caller: under mu.
	mu      sync.Mutex
	chain   []inference.PeerID // of the current epoch, which is current
	current inference.Epoch
	passed  []uint64 // last step that was passed on to each hop, of edges through the client
	held    []int64  // payload bytes that each hop's sender, and last the last hop, may not send again yet
	closed  bool

	// Owned by the caller.
	epoch    inference.Epoch
	class    inference.NumericsClass
	hops     []*hop
	ready    bool           // every hop is open and holds what it should
	dirty    bool           // a step with branch operations, or one that took a branch back, was cut off: nobody's KV is what it should be
	need     map[uint32]int // positions of each branch that the step at hand builds on
	seq      uint64         // last step sent in this epoch
	window   int64          // bytes that hop 1 can still take
	waiting  map[uint64]*pending
	branches map[uint32]*branch
	avoid    map[inference.PeerID]avoided
	relay    map[edge]bool
	gone     map[inference.PeerID]time.Time // when a peer last said that it has forgotten the session
	progress time.Time                      // when the session last got on; see gotOn
	alive    time.Time                      // when a hop of it last did
	failures []*HopError                    // of this step
	room     room
	salt     uint64
	timings  []wire.HopTime // of the last output

	accounts  map[inference.PeerID]*hopAccount
	stop      context.CancelCauseFunc
	live      context.Context
	closeOnce sync.Once
}

// edge is a pair of peers of which the first sends steps to the second.
type edge struct{ from, to inference.PeerID }

// hop is one peer of the current route.
type hop struct {
	route.Hop
	in       wire.Capability
	opened   bool
	direct   bool // its edge to the next hop is up
	relayed  bool // it was told to send to the next hop through the client
	bad      bool // it is to be replaced …
	full     bool // … for want of room, which is no fault
	held     []wire.BranchLength
	free     int // KV pages that it had free when it opened the session
	progress wire.Progress
	counted  uint64    // last step of which its account knows that it was sent on
	news     time.Time // when it was last heard of
	since    time.Time // when the step that it computes was begun, as far as is known
	asked    uint64    // nonce of a probe that it has not answered
	behind   time.Time // since when a step sent to it has not arrived
	owing    time.Time // since when a step that it says it sent through the client has not come
	account  *hopAccount
}

// pending is a step whose output has not come.
type pending struct {
	seq   uint64
	rows  []wire.Row
	units uint64                                // positions
	until int                                   // last hop that computes them
	fill  bool                                  // it restores what was computed before
	begun time.Time                             // when it was sent
	out   func(rows []wire.Row, payload []byte) // nil: nothing is wanted
}

// Open starts a session. No peer hears of it before the first step.
func (p *DistributedPipeline) Open(_ context.Context, o SessionOptions) (*Session, error) {
	o = p.options(o).withDefaults(p.parts.Context)
	if o.MaxLength > p.parts.Context {
		return nil, fmt.Errorf("max length %d above the model's context of %d: %w", o.MaxLength, p.parts.Context, ErrContextLength)
	}
	if o.Wire.Bytes() == 0 || o.Wire == inference.WireInt8 {
		return nil, fmt.Errorf("wire dtype %s: want f32 or bf16: %w", o.Wire, ErrInvalidRequest)
	}
	if o.Chunk < 1 || o.Chunk > wire.MaxStepRows || o.MaxBranches < 1 || o.MaxBranches > wire.MaxBranches {
		return nil, fmt.Errorf("chunk %d, branches %d: want 1 to %d and 1 to %d: %w", o.Chunk, o.MaxBranches, wire.MaxStepRows, wire.MaxBranches, ErrInvalidRequest)
	}
	s := &Session{
		p: p, opts: o, box: newMailbox(), class: o.Class,
		waiting: map[uint64]*pending{}, branches: map[uint32]*branch{0: {}},
		avoid: map[inference.PeerID]avoided{}, relay: map[edge]bool{}, gone: map[inference.PeerID]time.Time{},
		accounts: map[inference.PeerID]*hopAccount{}, progress: time.Now(),
	}
	if _, err := rand.Read(s.id[:]); err != nil {
		return nil, err
	}
	for _, b := range s.id[:8] {
		s.salt = s.salt<<8 | uint64(b)
	}
	s.live, s.stop = context.WithCancelCause(context.Background())
	if err := p.parts.Exchange.add(s); err != nil {
		return nil, err
	}
	return s, nil
}

// ID returns the session's id.
func (s *Session) ID() inference.SessionID { return s.id }

// Epoch returns the number of routes that the session has had.
func (s *Session) Epoch() inference.Epoch { return s.epoch }

// Length returns the positions of a branch, 0 for one that does not exist.
func (s *Session) Length(branch uint32) int {
	if b := s.branches[branch]; b != nil {
		return len(b.rows)
	}
	return 0
}

// Truncate forgets the positions of a branch from n on; the next step that
// writes to it makes the peers forget them too.
func (s *Session) Truncate(branch uint32, n int) error {
	b := s.branches[branch]
	if b == nil || n < 0 || n > len(b.rows) {
		return fmt.Errorf("truncate branch %d to %d: %w", branch, n, ErrInvalidRequest)
	}
	b.rows = b.rows[:n:n]
	return nil
}

// Close ends the session: the peers free its memory and state what they are
// owed. It does not wait for them.
func (s *Session) Close() error { return s.end(inference.OutcomeOK) }

func (s *Session) end(outcome inference.Outcome) error {
	s.closeOnce.Do(func() {
		s.stop(ErrClosed)
		s.mu.Lock()
		chain := s.chain
		s.closed = true
		s.mu.Unlock()
		for _, peer := range chain {
			_ = s.p.parts.Links.Send(peer, &wire.Frame{Message: &wire.Close{Session: s.id, Outcome: outcome}})
		}
		s.box.close()
		s.settle(chain)
	})
	return nil
}

// windowBytes is the window that the session asks for on every edge: two full
// steps, at least 256 KiB.
func (s *Session) windowBytes() int64 {
	return max(256<<10, 2*int64(s.opts.Chunk)*int64(s.p.parts.Ends.Hidden())*int64(s.opts.Wire.Bytes()))
}

// Step computes rows: first ops, then groups, all in one pass over the chain
// unless they are more than the session's chunk. It returns the hidden states
// of the rows that were wanted, in order. When a peer is lost the step is done
// again on another route; only the first error that no route can mend comes back.
func (s *Session) Step(ctx context.Context, ops []wire.BranchOp, groups []Group) ([]Hidden, error) {
	s.p.use.RLock()
	defer s.p.use.RUnlock()
	if s.live.Err() != nil {
		return nil, fmt.Errorf("step: %w", ErrClosed)
	}
	ctx, cancel := s.joined(ctx)
	defer cancel()
	next, err := s.apply(ops, groups)
	if err != nil {
		return nil, fmt.Errorf("step: %w", err)
	}
	s.progress, s.alive = time.Now(), time.Now()
	s.failures = nil
	s.need = s.needed(ops, groups)
	s.room.begin(next)
	defer s.withdraw()
	sent := false
	for {
		err := s.mend(ctx, groups)
		var got []Hidden
		if err == nil {
			s.dirty = len(ops) > 0 // until all hops have applied them
			sent = true
			got, err = s.execute(ctx, next, ops, groups)
		}
		if err == nil {
			s.branches, s.dirty = next, false
			return got, nil
		}
		if err := s.fault(ctx, err); err != nil {
			// Hops may hold new positions where the branch keeps its old ones.
			s.dirty = s.dirty || sent && s.rewinds(groups)
			return nil, fmt.Errorf("session %s: %w", s.id.String()[:8], err)
		}
	}
}

// joined returns a context that ends with ctx or with the session.
func (s *Session) joined(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.live, func() { cancel(context.Cause(s.live)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Logits runs the head over hidden states: one row of V logits for each row. A
// session that was closed has none.
func (s *Session) Logits(h Hidden) ([][]float32, error) { return s.logits(h, nil) }

// logits is Logits in room, where that is large enough; it may be elsewhere.
func (s *Session) logits(h Hidden, room []float32) ([][]float32, error) {
	s.p.use.RLock()
	defer s.p.use.RUnlock()
	if s.live.Err() != nil {
		return nil, fmt.Errorf("logits: %w", ErrClosed) // the weights may be gone
	}
	out, err := s.p.heads.run(h.Data, room, s.p.parts.Exchange.several())
	if err != nil {
		return nil, err
	}
	return slices.Collect(slices.Chunk(out, s.p.parts.Ends.Vocab())), nil
}
