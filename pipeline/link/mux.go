package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// Mux keeps the links of one process. It is safe for concurrent use.
type Mux struct {
	cfg Config
	ctx context.Context // ends dials
	end context.CancelFunc
	wg  sync.WaitGroup // every goroutine of every link

	mu     sync.Mutex
	closed bool
	links  map[inference.PeerID]*link
	last   map[inference.PeerID]<-chan struct{} // ends when Down of the link before has returned
	stats  map[inference.PeerID]*counters
}

// New returns a Mux that knows no peer yet.
func New(cfg Config) *Mux {
	m := &Mux{
		cfg: cfg.withDefaults(), links: map[inference.PeerID]*link{},
		last: map[inference.PeerID]<-chan struct{}{}, stats: map[inference.PeerID]*counters{},
	}
	m.ctx, m.end = context.WithCancel(context.Background())
	return m
}

// Send takes a frame and queues it for peer, dialling if there is no link. It
// returns ErrQueueFull or ErrTooMany when a bound is met and ErrClosed after
// Close; the frame is released in every case. A nil error does not mean that
// the peer will get the frame: Handler.Down tells of its loss.
func (m *Mux) Send(peer inference.PeerID, f *wire.Frame) error {
	for {
		l, err := m.link(peer)
		if err == nil {
			err = l.enqueue(f)
		}
		if err == ErrDown && l != nil {
			continue // it failed this instant; a new one takes its place
		}
		if err != nil {
			f.Release()
		}
		return err
	}
}

// Connect returns nil when all streams with peer are up and the peer has
// answered on them, dialling if there is no link.
func (m *Mux) Connect(ctx context.Context, peer inference.PeerID) error {
	l, err := m.link(peer)
	if err != nil {
		return err
	}
	select {
	case <-l.ready:
		return nil
	case <-l.stop:
		return l.reason()
	case <-ctx.Done():
		return fmt.Errorf("link: connect %s: %w", peer.Short(), context.Cause(ctx))
	}
}

// Connected reports whether all streams with peer are up.
func (m *Mux) Connected(peer inference.PeerID) bool {
	m.mu.Lock()
	l := m.links[peer]
	m.mu.Unlock()
	if l == nil {
		return false
	}
	select {
	case <-l.stop:
		return false
	default:
	}
	select {
	case <-l.ready:
		return true
	default:
		return false
	}
}

// Disconnect ends the link with peer, if there is one; Down is called.
func (m *Mux) Disconnect(peer inference.PeerID) {
	m.mu.Lock()
	l := m.links[peer]
	m.mu.Unlock()
	if l != nil {
		l.fail(ErrDown)
	}
}

// link returns the live link with peer, beginning one if there is none.
func (m *Mux) link(peer inference.PeerID) (*link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if l := m.links[peer]; l != nil && !l.failed() {
		return l, nil
	}
	if m.cfg.Dialer == nil {
		return nil, fmt.Errorf("link: no link with %s: %w", peer.Short(), ErrDown)
	}
	l, err := m.newLink(peer)
	if err == nil {
		l.dial()
	}
	return l, err
}

// newLink needs m.mu.
func (m *Mux) newLink(peer inference.PeerID) (*link, error) {
	if m.closed {
		return nil, ErrClosed
	}
	if len(m.links) >= m.cfg.MaxPeers {
		return nil, ErrTooMany
	}
	c := m.stats[peer]
	if c == nil {
		for p := range m.stats { // any one that is not in use
			if len(m.stats) < 2*m.cfg.MaxPeers {
				break
			}
			if m.links[p] == nil {
				delete(m.stats, p)
			}
		}
		c = new(counters)
		m.stats[peer] = c
	}
	l := newLink(m, peer, c, m.last[peer])
	m.links[peer] = l
	m.last[peer] = l.done
	return l, nil
}

// forget removes a link that has failed.
func (m *Mux) forget(l *link) {
	m.mu.Lock()
	if m.links[l.peer] == l {
		delete(m.links, l.peer)
	}
	m.mu.Unlock()
}

// buried removes what is kept for the order of Downs, once l's has returned.
func (m *Mux) buried(l *link) {
	m.mu.Lock()
	if m.last[l.peer] == (<-chan struct{})(l.done) {
		delete(m.last, l.peer)
	}
	m.mu.Unlock()
}

// Close refuses new work, writes what is queued for at most a second, closes
// every stream and waits for all goroutines, the Downs included.
func (m *Mux) Close() error {
	m.mu.Lock()
	m.closed = true
	links := make([]*link, 0, len(m.links))
	for _, l := range m.links {
		links = append(links, l)
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.ctx, time.Second)
	defer cancel()
	for _, l := range links {
		l.drain(ctx)
	}
	m.end()
	m.wg.Wait()
	return nil
}
