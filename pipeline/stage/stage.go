package stage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

// Stage serves one span. It is a link.Handler; Run does the work.
type Stage struct {
	cfg  Config
	pool *tensor.Pool // payloads and activations
	wake chan struct{}
	tick chan struct{} // a session was listed in flush

	clerks   sync.WaitGroup
	settling int             // final receipts being looked up; under mu
	ctx      context.Context // of dials; ends with Run
	cancel   context.CancelFunc

	mu       sync.Mutex
	sessions map[inference.SessionID]*session
	clients  map[inference.PeerID]*client
	live     int   // sessions, those included whose account is being closed
	reserved int64 // windows
	outBytes int64 // of all sessions
	pending  int   // rows waiting
	orders   uint64
	turn     uint64 // number of the last pass
	flush    []*session
	draining bool
	stopped  bool
	rates    rates

	// Reused by the scheduler.
	candidates []*session
	items      []item
	segments   []model.Segment
	ids        []inference.TokenID
}

// New returns a Stage that serves nobody until Run is called.
func New(cfg Config) (*Stage, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if s, ok := cfg.Span.(*model.Span); ok && cfg.Limits.Positions <= 0 {
		cfg.Limits.Positions = s.Spec().Context
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Stage{
		cfg: cfg, ctx: ctx, cancel: cancel, pool: tensor.NewPool(64 << 20),
		wake: make(chan struct{}, 1), tick: make(chan struct{}, 1),
		sessions: map[inference.SessionID]*session{}, clients: map[inference.PeerID]*client{},
	}, nil
}

// Run makes passes until ctx ends, then ends all sessions, telling their
// clients that the node leaves, and waits for what still writes to disk. It
// owns the scheduler and the clock.
func (s *Stage) Run(ctx context.Context) error {
	var clock sync.WaitGroup
	clock.Go(func() { s.clock(ctx) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.wake:
			for ctx.Err() == nil && s.pass() {
			}
		}
	}
	clock.Wait()
	s.stop()
	s.clerks.Wait()
	return context.Cause(ctx)
}

func (s *Stage) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.cancel()
	for _, e := range s.sessions {
		s.fail(e, 0, refuse(wire.CodeDraining, "the node is leaving"))
		s.end(e, inference.OutcomeNodeFault)
	}
}

// Drain makes the stage refuse new sessions with wire.CodeDraining; those that
// are open go on, through new epochs too.
func (s *Stage) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// Load returns what changes by the second.
func (s *Stage) Load() inference.Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load().Noun()
}

func (s *Stage) load() wire.LoadInfo {
	return wire.LoadInfo{Queue: uint32(s.pending), Sessions: uint32(len(s.sessions)), FreePages: uint32(s.freePages())}
}

// Live returns the payload bytes and activations held now, 0 at rest.
func (s *Stage) Live() int64 { return s.pool.Live() }

// kick wakes the scheduler.
func (s *Stage) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Stage) send(peer inference.PeerID, m wire.Message) {
	if err := s.cfg.Links.Send(peer, &wire.Frame{Message: m}); err != nil {
		s.cfg.Log.Debug("send", "peer", peer, "message", m.Kind(), "err", err)
	}
}

// Reasons why a payload is not read.
var (
	errSkip  = errors.New("no such session or epoch")
	errLimit = errors.New("beyond the session's window")
)

// Reserve implements link.Handler.
func (s *Stage) Reserve(from inference.PeerID, m wire.Message, n int) (tensor.Buffer, error) {
	st, ok := m.(*wire.Step)
	if !ok {
		if m.Kind() == wire.KindAttach {
			s.answer(from, m.Of(), unsupported("attach"))
		}
		return tensor.Buffer{}, errSkip
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sessions[st.Session]
	if e == nil {
		s.unknown(from, st.Session, st.Epoch)
		return tensor.Buffer{}, errSkip
	}
	if fail := e.admits(from, st); fail != nil {
		if fail.Code != 0 {
			s.reply(from, e, st.Seq, fail)
		}
		return tensor.Buffer{}, errSkip
	}
	if e.unacked+int64(n) > e.route.window {
		s.fail(e, st.Seq, refuse(wire.CodeLimit, "%d bytes of payload beyond the window of %d", e.unacked+int64(n)-e.route.window, e.route.window))
		s.end(e, inference.OutcomeAbort)
		return tensor.Buffer{}, errLimit
	}
	e.unacked += int64(n)
	e.reading[from] += int64(n)
	return s.pool.Get(tensor.I8, 1, n), nil
}

// Frame implements link.Handler.
func (s *Stage) Frame(from inference.PeerID, f *wire.Frame) {
	now := time.Now()
	if m, ok := f.Message.(*wire.Step); ok {
		s.step(from, m, f.Payload, now)
		return
	}
	f.Release()
	switch m := f.Message.(type) {
	case *wire.Open:
		s.opens(from, m, now)
		return
	case *wire.LoadQuery:
		s.mu.Lock()
		l := s.load()
		s.mu.Unlock()
		s.send(from, &wire.Load{Nonce: m.Nonce, Info: l})
		return
	case *wire.Replay, *wire.Resume, *wire.Attach, *wire.Sampling:
		s.answer(from, m.Of(), unsupported(m.Kind().String()))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sessions[f.Message.Of()]
	if e == nil {
		switch m := f.Message.(type) {
		case *wire.Probe:
			s.unknown(from, m.Session, 0)
		case *wire.Close:
			s.lastWord(from, m.Session)
		}
		return
	}
	if from != e.client.id && from != e.route.Next && from != e.route.Prev {
		s.reply(from, e, 0, refuse(wire.CodeForbidden, "not a peer of this session"))
		return
	}
	mine := from == e.client.id
	if mine {
		if !e.lost.IsZero() {
			s.kick() // what waits may be computed again
		}
		e.active, e.lost = now, time.Time{}
	}
	switch m := f.Message.(type) {
	case *wire.Credit:
		s.credit(e, from, m)
	case *wire.Probe:
		if mine {
			s.progress(e, m.Nonce, now)
		}
	case *wire.Voucher:
		if mine {
			s.takeVoucher(e, &m.Voucher)
		}
	case *wire.Close:
		if mine {
			outcome := m.Outcome
			if outcome != inference.OutcomeOK && outcome != inference.OutcomeNodeFault {
				outcome = inference.OutcomeAbort
			}
			s.end(e, outcome)
		}
	case *wire.Fail:
		if from == e.route.Next && !e.route.last && m.Epoch == e.route.Epoch {
			s.fail(e, m.Seq, &wire.Fail{Code: wire.CodeNextHop, Hop: e.route.Hop + 1, Text: "the next hop refuses: " + m.Error()})
		}
	}
}

// Down implements link.Handler.
func (s *Stage) Down(peer inference.PeerID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, e := range s.sessions {
		e.unacked -= e.reading[peer]
		delete(e.reading, peer)
		if e.client.id == peer && e.lost.IsZero() {
			e.lost = now
		}
		if e.direct && e.route.Next == peer {
			s.fail(e, 0, &wire.Fail{Code: wire.CodeNextHop, Hop: e.route.Hop + 1, Text: "connection to the next hop lost: " + err.Error()})
		}
	}
}

// unknown answers a frame of a session that is not here; s.mu is held.
func (s *Stage) unknown(to inference.PeerID, id inference.SessionID, epoch inference.Epoch) {
	s.send(to, &wire.Fail{Session: id, Epoch: epoch, Code: wire.CodeNoSession, Text: "unknown, expired or ended"})
}

// answer refuses a message, the session goes on.
func (s *Stage) answer(to inference.PeerID, id inference.SessionID, f *wire.Fail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.sessions[id]; e != nil {
		s.reply(to, e, 0, f)
		return
	}
	f.Session = id
	s.send(to, f)
}

// reply sends f about e to a peer; s.mu is held.
func (s *Stage) reply(to inference.PeerID, e *session, seq uint64, f *wire.Fail) {
	f.Session, f.Epoch, f.Seq = e.id, e.route.Epoch, seq
	if f.Hop == 0 {
		f.Hop = e.route.Hop
	}
	s.send(to, f)
}

// fail tells the client that the epoch is over at this hop, and drops what
// waits; branches stay for a later epoch, unless the node is full. s.mu is held.
func (s *Stage) fail(e *session, seq uint64, f *wire.Fail) {
	if e.failed || e.ended {
		return
	}
	e.failed = true
	s.cfg.Log.Debug("session failed", "session", e.id, "epoch", e.route.Epoch, "seq", seq, "code", f.Code, "err", f.Text)
	if e.reported.Sent != e.sent { // what has left is billed, also after a failure
		s.progress(e, 0, time.Now())
	}
	s.reply(e.client.id, e, seq, f)
	s.clear(e)
	if f.Code != wire.CodeBusy && f.Code != wire.CodeNoRoom {
		return
	}
	// It comes again on a new route and has all positions computed again; until
	// then others may have its pages.
	e.parked = true
	if !e.inPass {
		s.releaseBranches(e)
	}
}
