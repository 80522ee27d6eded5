package linktest

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/farlabs/inference"
)

// stream is one end of a duplex pipe.
type stream struct {
	n             *Network
	local, remote inference.PeerID
	in, out       *half
	peer          *stream
}

// half is one direction: chunks in flight, each with its time of arrival.
type half struct {
	n     *Network
	way   pair // from the writer to the reader
	delay time.Duration

	mu      sync.Mutex
	chunks  []chunk
	held    int // bytes
	eof     bool
	eofAt   time.Time
	err     error
	readBy  time.Time
	writeBy time.Time
	changed chan struct{} // closed and renewed whenever the state changes
}

type chunk struct {
	data []byte
	at   time.Time
}

func newPipe(n *Network, way pair, delay time.Duration) (a, b *stream) {
	there := &half{n: n, way: way, delay: delay, changed: make(chan struct{})}
	back := &half{n: n, way: pair{way.to, way.from}, delay: delay, changed: make(chan struct{})}
	a = &stream{n: n, local: way.from, remote: way.to, in: back, out: there}
	b = &stream{n: n, local: way.to, remote: way.from, in: there, out: back}
	a.peer, b.peer = b, a
	return a, b
}

func (h *half) wake() {
	h.mu.Lock()
	h.wakeLocked()
	h.mu.Unlock()
}

func (h *half) wakeLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// wait unlocks h, waits for changed or the earlier of two times (zero: never),
// and locks h again.
func (h *half) wait(changed <-chan struct{}, until ...time.Time) {
	var first time.Time
	for _, t := range until {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	h.mu.Unlock()
	defer h.mu.Lock()
	if first.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(first))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func over(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// Read implements link.Stream.
func (s *stream) Read(p []byte) (int, error) {
	h := s.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		changed := h.changed
		h.mu.Unlock()
		stopped := h.n.stopped(h.way)
		h.mu.Lock()
		var next time.Time
		switch {
		case h.err != nil:
			return 0, h.err
		case over(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case stopped:
		case len(h.chunks) > 0:
			c := &h.chunks[0]
			if next = c.at; time.Now().Before(next) {
				break
			}
			n := copy(p, c.data)
			if c.data = c.data[n:]; len(c.data) == 0 {
				h.chunks = h.chunks[1:]
			}
			h.held -= n
			h.wakeLocked()
			return n, nil
		case h.eof:
			if next = h.eofAt; !time.Now().Before(next) {
				return 0, io.EOF
			}
		}
		h.wait(changed, next, h.readBy)
	}
}

// Write implements link.Stream.
func (s *stream) Write(p []byte) (done int, err error) {
	h := s.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.err != nil:
			return done, h.err
		case h.eof:
			return done, io.ErrClosedPipe
		case over(h.writeBy):
			return done, os.ErrDeadlineExceeded
		case len(p) == 0:
			return done, nil
		}
		if n := min(len(p), Window-h.held); n > 0 {
			h.chunks = append(h.chunks, chunk{append([]byte(nil), p[:n]...), time.Now().Add(h.delay)})
			h.held += n
			done += n
			p = p[n:]
			h.wakeLocked()
			continue
		}
		h.wait(h.changed, h.writeBy)
	}
}

// SetReadDeadline implements link.Stream.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.readBy = t
	s.in.wakeLocked()
	return nil
}

// SetWriteDeadline implements link.Stream.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.writeBy = t
	s.out.wakeLocked()
	return nil
}

// Reset implements link.Stream.
func (s *stream) Reset() error {
	for _, h := range []*half{s.in, s.out} {
		h.mu.Lock()
		if h.err == nil {
			h.err = ErrReset
			h.chunks = nil
			h.wakeLocked()
		}
		h.mu.Unlock()
	}
	s.gone(s, s.peer)
	return nil
}

// Close implements link.Stream: the peer reads what was written, then io.EOF;
// its writes fail.
func (s *stream) Close() error {
	s.out.mu.Lock()
	if !s.out.eof {
		s.out.eof, s.out.eofAt = true, time.Now().Add(s.out.delay)
	}
	s.out.wakeLocked()
	s.out.mu.Unlock()
	s.in.mu.Lock()
	if s.in.err == nil {
		s.in.err = io.ErrClosedPipe
		s.in.chunks = nil
		s.in.wakeLocked()
	}
	s.in.mu.Unlock()
	s.gone(s)
	return nil
}

func (s *stream) gone(l ...*stream) {
	s.n.mu.Lock()
	for _, e := range l {
		delete(s.n.streams, e)
	}
	s.n.mu.Unlock()
}
