package cli

import (
	"context"
	"os"
	"sync"
	"time"
)

// repeat is how soon after a signal the same one is no second: a program such
// as timeout(1) signals a process and then the group that it is in.
const repeat = 200 * time.Millisecond

// signals decides what the signals of a process do.
type signals struct {
	cancel func(cause error)
	atOnce func() // ends the process

	mu        sync.Mutex
	interrupt func() // takes the next SIGINT; nil: nobody does
}

type signalsKey struct{}

// OnInterrupt has f called by the next SIGINT, which then ends nothing else. It
// is for a command that can stop part of what it does. f is forgotten when it
// was called, and when forget is.
func OnInterrupt(ctx context.Context, f func()) (forget func()) {
	s, ok := ctx.Value(signalsKey{}).(*signals)
	if !ok {
		return func() {}
	}
	s.set(f)
	return func() { s.set(nil) }
}

func (s *signals) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupt = f
}

func (s *signals) take() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.interrupt
	s.interrupt = nil
	return f
}

// watch handles what comes in until done is closed: the first signal cancels,
// the second ends the process.
func (s *signals) watch(in <-chan os.Signal, done <-chan struct{}) {
	var last os.Signal
	var when time.Time
	canceled := false
	for {
		var sig os.Signal
		select {
		case sig = <-in:
		case <-done:
			return
		}
		now := time.Now()
		if sig == last && now.Sub(when) < repeat {
			continue
		}
		last, when = sig, now
		if sig == os.Interrupt && !canceled {
			if f := s.take(); f != nil {
				f()
				continue
			}
		}
		if canceled {
			s.atOnce()
			return
		}
		canceled = true
		s.cancel(&Interrupted{sig})
	}
}
