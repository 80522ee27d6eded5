package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// link is one life of the connection with a peer. Its supervisor goroutine,
// run, owns the end of it: it resets the streams, waits for the goroutines that
// use them, and calls Down.
type link struct {
	m     *Mux
	peer  inference.PeerID
	stats *counters
	began time.Time
	prev  <-chan struct{} // Down of the link before has returned; nil: none
	ready chan struct{}   // every lane has a stream on which the peer has answered
	stop  chan struct{}   // failed; err says why
	close chan struct{}   // the peer has closed a stream in good order
	done  chan struct{}   // Down has returned
	ctx   context.Context // of the dials; ends with the link
	end   context.CancelFunc
	group sync.WaitGroup // readers, writers and dials
	heard atomic.Int64   // time of the last frame in either direction, since began

	mu       sync.Mutex
	err      error
	graceful bool   // close the streams instead of resetting them
	closing  bool   // close is closed
	used     bool   // something would be lost with the link
	id       uint64 // its number if this side dialled, else 0
	remote   uint64 // the number of the link the peer dialled, 0: none known
	alone    bool   // the peer took our link while it was not dialling one
	proved   int
	lanes    [wire.NumChannels]lane
	streams  []Stream
	queued   int64 // bytes waiting on the decode and bulk lanes
	control  int64 // bytes waiting on the control lane
	empty    chan struct{}
}

// lane is one channel of a link.
type lane struct {
	queue    []*wire.Frame
	wake     chan struct{} // holds one token when queue is not empty
	out      Stream        // written to; the first that came up
	accepted bool          // the peer has opened a stream
	open     int           // streams that are being read
	proved   bool
}

// controlBytes bounds the control lane by itself, so that a full bulk lane
// cannot keep a message from saying so.
const controlBytes = 4 << 20

func newLink(m *Mux, peer inference.PeerID, c *counters, prev <-chan struct{}) *link {
	l := &link{
		m: m, peer: peer, stats: c, prev: prev, began: time.Now(),
		ready: make(chan struct{}), stop: make(chan struct{}), close: make(chan struct{}), done: make(chan struct{}),
	}
	l.ctx, l.end = context.WithCancel(m.ctx)
	for i := range l.lanes {
		l.lanes[i].wake = make(chan struct{}, 1)
	}
	c.links.Add(1)
	m.wg.Add(1)
	go l.run()
	return l
}

// run is the link's supervisor.
func (l *link) run() {
	defer l.m.wg.Done()
	l.watch()
	l.m.forget(l)
	l.mu.Lock()
	streams, graceful, used, err := l.streams, l.graceful, l.used, l.err
	l.mu.Unlock()
	for _, s := range streams {
		if graceful {
			s.Close()
		} else {
			s.Reset()
		}
	}
	l.group.Wait()
	for i := range l.lanes {
		for _, f := range l.lanes[i].queue {
			f.Release()
		}
		l.lanes[i].queue = nil
	}
	if l.prev != nil {
		<-l.prev
	}
	if used {
		l.m.cfg.Log.Debug("link down", "peer", l.peer, "err", err)
		l.m.cfg.Handler.Down(l.peer, err)
	}
	close(l.done)
	l.m.buried(l)
}

// watch returns when the link has failed: of itself, or because it did not
// come up, fell idle or was closed by the peer.
func (l *link) watch() {
	cfg := &l.m.cfg
	timer := time.NewTimer(cfg.DialTimeout)
	defer timer.Stop()
	ready, closing := l.ready, l.close
	for {
		select {
		case <-l.stop:
			return
		case <-ready:
			ready = nil
			if closing != nil {
				timer.Reset(cfg.IdleTimeout)
			}
		case <-closing:
			closing = nil
			timer.Reset(time.Second) // for what is on its way on the other streams
		case <-timer.C:
			rest := cfg.IdleTimeout - (time.Since(l.began) - time.Duration(l.heard.Load()))
			switch {
			case closing == nil:
				l.fail(fmt.Errorf("link: closed by %s: %w", l.peer.Short(), ErrDown))
			case ready != nil:
				l.fail(fmt.Errorf("link: no answer from %s in %v: %w", l.peer.Short(), cfg.DialTimeout, context.DeadlineExceeded))
			case rest <= 0:
				l.fail(ErrIdle)
			default:
				timer.Reset(rest)
			}
		}
	}
}

// fail ends the link; the first reason stays.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.stop)
		l.end()
	}
}

func (l *link) failed() bool {
	select {
	case <-l.stop:
		return true
	case <-l.close:
		return true
	default:
		return false
	}
}

func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *link) touch() { l.heard.Store(int64(time.Since(l.began))) }

// dial opens all streams, once, in the background; Mux calls it for a link that
// this side begins.
func (l *link) dial() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = rand.Uint64() | 1
	for ch := range l.lanes {
		l.group.Add(1)
		go l.dialLane(wire.Channel(ch))
	}
}

func (l *link) dialLane(ch wire.Channel) {
	defer l.group.Done()
	ctx, cancel := context.WithTimeout(l.ctx, l.m.cfg.DialTimeout)
	s, err := l.m.cfg.Dialer.OpenStream(ctx, l.peer, ch.Protocol())
	cancel()
	if err != nil {
		l.mu.Lock()
		fatal := !l.lanes[ch].accepted // else the peer's stream serves both ways
		l.mu.Unlock()
		if fatal {
			l.fail(fmt.Errorf("link: dial %s: %w", l.peer.Short(), err))
		}
		return
	}
	if !l.add(s) {
		return
	}
	l.mu.Lock()
	g := greeting{l.id, l.remote}
	l.mu.Unlock()
	if err := g.write(s, l.m.cfg.DialTimeout); err != nil {
		l.fail(fmt.Errorf("link: greet %s: %w", l.peer.Short(), err))
		return
	}
	l.serve(ch, s)
	answer, err := readGreeting(s, l.m.cfg.DialTimeout)
	if err == nil && answer.link != g.link {
		err = fmt.Errorf("answer of another link: %w", wire.ErrMalformed)
	}
	if err != nil {
		l.fail(fmt.Errorf("link: answer of %s: %w", l.peer.Short(), err))
		return
	}
	l.mu.Lock()
	if answer.other == 0 {
		l.alone = true
	} else if l.remote == 0 {
		l.remote = answer.other
	}
	l.mu.Unlock()
	l.prove(ch)
	l.read(ch, s)
}

// Accept serves a stream that peer has opened for channel ch, until it ends.
func (m *Mux) Accept(peer inference.PeerID, ch wire.Channel, s Stream) {
	g, err := readGreeting(s, m.cfg.FrameTimeout)
	if err != nil || ch >= wire.NumChannels {
		s.Reset()
		return
	}
	l, err := m.adopt(peer, ch, g)
	if err != nil {
		m.cfg.Log.Debug("stream refused", "peer", peer, "err", err)
		s.Reset()
		return
	}
	defer l.group.Done()
	if !l.add(s) {
		return
	}
	l.mu.Lock()
	answer := greeting{g.link, l.id}
	l.mu.Unlock()
	if err := answer.write(s, m.cfg.DialTimeout); err != nil {
		l.fail(fmt.Errorf("link: greet %s: %w", peer.Short(), err))
		return
	}
	l.prove(ch)
	l.serve(ch, s)
	l.read(ch, s)
}

var errStale = errors.New("stream of a link that is over")

// adopt finds or begins the link that a stream with greeting g belongs to, and
// adds the caller to its group.
func (m *Mux) adopt(peer inference.PeerID, ch wire.Channel, g greeting) (*link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[peer]
	if l != nil {
		switch ok, err := l.join(ch, g); {
		case err != nil:
			return nil, err
		case ok:
			return l, nil
		}
		l.fail(fmt.Errorf("link: %s has begun a new one: %w", peer.Short(), ErrDown))
		delete(m.links, peer)
	}
	if g.other != 0 {
		return nil, errStale
	}
	l, err := m.newLink(peer)
	if err != nil {
		return nil, err
	}
	_, err = l.join(ch, g)
	return l, err
}

// join adds a stream with greeting g to the link; false means that the peer has
// begun another one.
func (l *link) join(ch wire.Channel, g greeting) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil || l.closing:
		return false, nil
	case l.remote != 0:
		if l.remote != g.link {
			return false, nil
		}
		if l.lanes[ch].accepted {
			return false, errors.New("second stream of a channel")
		}
	case g.other != 0 && g.other != l.id:
		return false, errStale
	case g.other == 0 && l.alone:
		return false, nil // it had joined our link, and has lost it
	}
	l.remote = g.link
	l.lanes[ch].accepted = true
	l.group.Add(1)
	return true, nil
}

// add registers a stream, so that it ends with the link.
func (l *link) add(s Stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		s.Reset()
		return false
	}
	l.streams = append(l.streams, s)
	l.used = true
	return true
}

// prove notes that the peer has answered on a channel.
func (l *link) prove(ch wire.Channel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := &l.lanes[ch].proved; !*p {
		*p = true
		if l.proved++; l.proved == len(l.lanes) {
			l.touch()
			close(l.ready)
		}
	}
}

// drain ends the link in good order: what is queued is written first, while
// ctx lasts.
func (l *link) drain(ctx context.Context) {
	l.mu.Lock()
	l.graceful = true
	if l.queued+l.control > 0 && l.empty == nil {
		l.empty = make(chan struct{})
	}
	empty := l.empty
	l.mu.Unlock()
	if empty != nil {
		select {
		case <-empty:
		case <-l.stop:
		case <-ctx.Done():
		}
	}
	l.fail(ErrClosed)
}
