package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

// maxSessions bounds the sessions of one client process.
const maxSessions = 4096

// Exchange receives the frames of all sessions of a client process and hands
// each to its session. It is the handler of the client's links; steps of edges
// that run through the client are passed on here, without the session's caller.
type Exchange struct {
	pool *tensor.Pool

	mu       sync.Mutex
	settling int           // sessions that wait for their last receipts
	rest     chan struct{} // closed when they are none again
	links    Links
	sessions map[inference.SessionID]*Session
	closed   bool // no session may begin any more
	loads    map[uint64]chan inference.Load
	claims   map[claimKey]claim
}

// maxClaims bounds the final receipts that are being asked for.
const maxClaims = 1024

// claimKey names a session that is over and a peer that was asked for its final
// receipt: each hop of a session has its own.
type claimKey struct {
	session inference.SessionID
	peer    inference.PeerID
}

type claim struct {
	signer inference.Address
	purse  Purse
}

// NewExchange returns an Exchange whose payloads come from pool.
func NewExchange(pool *tensor.Pool) *Exchange {
	return &Exchange{
		pool: pool, sessions: map[inference.SessionID]*Session{}, loads: map[uint64]chan inference.Load{},
		claims: map[claimKey]claim{},
	}
}

// Use sets the links that relayed frames and queries leave by; call it once
// before the first session.
func (x *Exchange) Use(l Links) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.links = l
}

// Wait returns when every closed session has been settled, or given up: within
// a few seconds of the last Close.
func (x *Exchange) Wait() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.settling > 0 {
		rest := x.rest
		x.mu.Unlock()
		<-rest
		x.mu.Lock()
	}
}

// settle runs the end of a session in the background. A session may end while
// another goroutine is in Wait.
func (x *Exchange) settle(end func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.settling++; x.settling == 1 {
		x.rest = make(chan struct{})
	}
	go func() {
		end()
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.settling--; x.settling == 0 {
			close(x.rest)
		}
	}()
}

func (x *Exchange) add(s *Session) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || s.p.over {
		return fmt.Errorf("open a session: %w", ErrClosed)
	}
	if len(x.sessions) >= maxSessions {
		return fmt.Errorf("%d sessions are open in this process: %w", len(x.sessions), ErrBusy)
	}
	x.sessions[s.id] = s
	return nil
}

// finish ends the sessions of a pipeline, nil: of all, and lets none begin. Wait
// waits for their last receipts.
func (x *Exchange) finish(p *DistributedPipeline) {
	x.mu.Lock()
	if p == nil {
		x.closed = true
	} else {
		p.over = true
	}
	var end []*Session
	for _, s := range x.sessions {
		if p == nil || s.p == p {
			end = append(end, s)
		}
	}
	x.mu.Unlock()
	for _, s := range end {
		_ = s.end(inference.OutcomeAbort)
	}
}

func (x *Exchange) remove(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.sessions, s.id)
}

// several reports whether more than one session is open.
func (x *Exchange) several() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.sessions) > 1
}

func (x *Exchange) find(id inference.SessionID) *Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sessions[id]
}

// Reserve implements link.Handler: memory for outputs and relayed steps of
// known sessions, within the window that the session granted.
func (x *Exchange) Reserve(from inference.PeerID, m wire.Message, n int) (tensor.Buffer, error) {
	s := x.find(m.Of())
	if s == nil {
		return tensor.Buffer{}, errors.New("no such session")
	}
	if !s.expects(from, m, n) {
		return tensor.Buffer{}, errors.New("not expected from this peer")
	}
	return x.pool.Get(tensor.I8, 1, n), nil
}

// Frame implements link.Handler.
func (x *Exchange) Frame(from inference.PeerID, f *wire.Frame) {
	if m, ok := f.Message.(*wire.Load); ok {
		x.loaded(m)
		return
	}
	s := x.find(f.Message.Of())
	if s == nil {
		f.Release()
		x.settled(from, f.Message)
		return
	}
	s.receive(from, f)
}

// claim asks a node that has just been met for the final receipts that are
// missing: of sessions whose client process, node or connection died.
func (x *Exchange) claim(peer inference.PeerID, signer inference.Address, purse Purse) {
	ids := purse.Claims(signer)
	x.mu.Lock()
	links := x.links
	var ask []inference.SessionID
	for _, id := range ids {
		k := claimKey{id, peer}
		if _, asked := x.claims[k]; !asked && x.sessions[id] == nil && len(x.claims) < maxClaims {
			x.claims[k] = claim{signer, purse}
			ask = append(ask, id)
		}
	}
	x.mu.Unlock()
	for _, id := range ask {
		if links.Send(peer, &wire.Frame{Message: &wire.Close{Session: id, Outcome: inference.OutcomeAbort}}) != nil {
			x.unclaim(id, peer)
		}
	}
}

// settled takes the answer to a claim.
func (x *Exchange) settled(from inference.PeerID, m wire.Message) {
	c, ok := x.unclaim(m.Of(), from)
	if !ok {
		return
	}
	switch m := m.(type) {
	case *wire.Receipt:
		_ = c.purse.Adopt(&m.Receipt, c.signer) // a refused one stays a claim
	case *wire.Fail:
		if m.Code == wire.CodeNoSession {
			_ = c.purse.Lost(m.Session, c.signer)
		}
	}
}

func (x *Exchange) unclaim(id inference.SessionID, from inference.PeerID) (claim, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k := claimKey{id, from}
	c, ok := x.claims[k]
	delete(x.claims, k)
	return c, ok
}

// Down implements link.Handler.
func (x *Exchange) Down(peer inference.PeerID, err error) {
	x.mu.Lock()
	all := make([]*Session, 0, len(x.sessions))
	for _, s := range x.sessions {
		all = append(all, s)
	}
	for k := range x.claims {
		if k.peer == peer {
			delete(x.claims, k)
		}
	}
	x.mu.Unlock()
	for _, s := range all {
		s.lost(peer, err)
	}
}

// Loads asks peers for their load and returns what came back within wait.
func (x *Exchange) Loads(ctx context.Context, peers []inference.PeerID, wait time.Duration) map[inference.PeerID]inference.Load {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	type answer struct {
		peer inference.PeerID
		load inference.Load
	}
	answers := make(chan answer, len(peers))
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			if l, ok := x.load(ctx, p); ok {
				answers <- answer{p, l}
			}
		})
	}
	wg.Wait()
	close(answers)
	loads := map[inference.PeerID]inference.Load{}
	for a := range answers {
		loads[a.peer] = a.load
	}
	return loads
}

func (x *Exchange) load(ctx context.Context, peer inference.PeerID) (inference.Load, bool) {
	got := make(chan inference.Load, 1)
	x.mu.Lock()
	links := x.links
	nonce := rand.Uint64()
	x.loads[nonce] = got
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		delete(x.loads, nonce)
		x.mu.Unlock()
	}()
	if links == nil || links.Connect(ctx, peer) != nil {
		return inference.Load{}, false
	}
	if links.Send(peer, &wire.Frame{Message: &wire.LoadQuery{Nonce: nonce}}) != nil {
		return inference.Load{}, false
	}
	select {
	case l := <-got:
		return l, true
	case <-ctx.Done():
		return inference.Load{}, false
	}
}

func (x *Exchange) loaded(m *wire.Load) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if got := x.loads[m.Nonce]; got != nil {
		select {
		case got <- m.Info.Noun():
		default:
		}
	}
}
