package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// maxMail bounds the events that wait for a session. Outputs are bounded by
// the window that the session grants, the rest is small.
const maxMail = 4096

// event is something a session has to hear of: a frame from a peer, or, with a
// nil frame, that the peer is gone.
type event struct {
	from  inference.PeerID
	frame *wire.Frame
	err   error
}

// mailbox hands events from the links' readers, which must not block, to the
// session's caller.
type mailbox struct {
	mu     sync.Mutex
	mail   []event
	closed bool
	ready  chan struct{} // holds one token when mail is not empty
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// put takes ev; it reports false, and takes nothing, when the box is full or closed.
func (m *mailbox) put(ev event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.mail) >= maxMail {
		return false
	}
	m.mail = append(m.mail, ev)
	select {
	case m.ready <- struct{}{}:
	default:
	}
	return true
}

// take returns the next event; ok is false when wait passed first.
func (m *mailbox) take(ctx context.Context, wait time.Duration) (ev event, ok bool, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		m.mu.Lock()
		if len(m.mail) > 0 {
			ev = m.mail[0]
			m.mail[0] = event{}
			m.mail = m.mail[1:]
			if len(m.mail) > 0 {
				select {
				case m.ready <- struct{}{}:
				default:
				}
			}
			m.mu.Unlock()
			return ev, true, nil
		}
		m.mu.Unlock()
		select {
		case <-m.ready:
		case <-timer.C:
			return event{}, false, nil
		case <-ctx.Done():
			return event{}, false, context.Cause(ctx)
		}
	}
}

// close drops what waits.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, ev := range m.mail {
		if ev.frame != nil {
			ev.frame.Release()
		}
	}
	m.mail = nil
}
