package link

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

// enqueue takes f unless it returns an error.
func (l *link) enqueue(f *wire.Frame) error {
	ch := f.Channel()
	cost := frameCost + int64(len(f.Payload.Data))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.closing || l.empty != nil {
		return ErrDown
	}
	if ch == wire.Control {
		if l.control+cost > controlBytes {
			return ErrQueueFull
		}
		l.control += cost
	} else {
		if l.queued+cost > l.m.cfg.QueueBytes {
			return ErrQueueFull
		}
		l.queued += cost
	}
	l.used = true
	ln := &l.lanes[ch]
	ln.queue = append(ln.queue, f)
	if len(ln.queue) == 1 {
		select {
		case ln.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// written takes cost bytes off a lane's account.
func (l *link) written(ch wire.Channel, cost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ch == wire.Control {
		l.control -= cost
	} else {
		l.queued -= cost
	}
	if l.empty != nil && l.queued+l.control == 0 && l.err == nil {
		select {
		case <-l.empty:
		default:
			close(l.empty)
		}
	}
}

// serve starts the lane's writer on s, unless it has a stream already.
func (l *link) serve(ch wire.Channel, s Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes[ch].out != nil || l.err != nil {
		return
	}
	l.lanes[ch].out = s
	l.group.Add(1)
	go l.write(ch, s)
}

// write is the writer goroutine of a lane.
func (l *link) write(ch wire.Channel, s Stream) {
	defer l.group.Done()
	ln := &l.lanes[ch]
	var batch []*wire.Frame
	for {
		select {
		case <-ln.wake:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		batch, ln.queue = ln.queue, batch[:0]
		l.mu.Unlock()
		if err := l.writeBatch(ch, s, batch); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = ErrStuck
			}
			l.fail(fmt.Errorf("link: write to %s: %w", l.peer.Short(), err))
			return
		}
		clear(batch)
		if cap(batch) > 1024 {
			batch = nil
		}
	}
}

var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// writeBatch writes frames with as few Writes as writeBytes allows, and
// releases all of them.
func (l *link) writeBatch(ch wire.Channel, s Stream, batch []*wire.Frame) (err error) {
	held := writeBuffers.Get().(*[]byte)
	buf := (*held)[:0]
	var cost int64
	flush := func(b []byte) {
		if err != nil || len(b) == 0 {
			return
		}
		if err = s.SetWriteDeadline(time.Now().Add(l.m.cfg.WriteTimeout)); err == nil {
			_, err = s.Write(b)
		}
		l.stats.writes.Add(1)
	}
	for _, f := range batch {
		if err != nil {
			f.Release()
			continue
		}
		p := f.Payload.Data
		if len(buf) > 0 && len(buf)+len(p)+frameCost > writeBytes {
			flush(buf)
			l.written(ch, cost)
			buf, cost = buf[:0], 0
		}
		at := len(buf)
		buf = f.AppendHeader(buf)
		l.stats.out.add(len(buf)-at, len(p))
		cost += frameCost + int64(len(p))
		for len(buf)+len(p) > writeBytes {
			n := max(writeBytes-len(buf), 0)
			buf = append(buf, p[:n]...)
			flush(buf)
			buf, p = buf[:0], p[n:]
		}
		buf = append(buf, p...)
		f.Release()
	}
	flush(buf)
	l.written(ch, cost)
	l.touch()
	if cap(buf) <= 2*writeBytes {
		*held = buf
		writeBuffers.Put(held)
	}
	return err
}

// inbound is a stream of which the deadline is set only when a read has to
// wait: a frame that arrives whole costs no timer.
type inbound struct {
	s          Stream
	until, set time.Time
}

func (in *inbound) Read(p []byte) (int, error) {
	if in.until != in.set {
		if err := in.s.SetReadDeadline(in.until); err != nil {
			return 0, err
		}
		in.set = in.until
	}
	return in.s.Read(p)
}

// read hands the frames of s to the handler until the stream ends.
func (l *link) read(ch wire.Channel, s Stream) {
	if l.prev != nil {
		select {
		case <-l.prev:
		case <-l.stop:
			return
		}
	}
	l.mu.Lock()
	l.lanes[ch].open++
	l.mu.Unlock()
	err := l.readFrames(s)
	l.mu.Lock()
	l.lanes[ch].open--
	open := 0
	for i := range l.lanes {
		open += l.lanes[i].open
	}
	if errors.Is(err, io.EOF) {
		if !l.closing {
			l.closing = true
			close(l.close)
		}
		l.mu.Unlock()
		if open == 0 {
			l.fail(fmt.Errorf("link: closed by %s: %w", l.peer.Short(), ErrDown))
		}
		return
	}
	first := l.err == nil
	l.mu.Unlock()
	if first && errors.Is(err, wire.ErrMalformed) {
		l.stats.malformed.Add(1)
		l.m.cfg.Log.Warn("peer sent bytes that are no frame", "peer", l.peer, "err", err)
	}
	l.fail(fmt.Errorf("link: read from %s: %w", l.peer.Short(), err))
}

func (l *link) readFrames(s Stream) error {
	h, timeout := l.m.cfg.Handler, l.m.cfg.FrameTimeout
	in := &inbound{s: s}
	rd := wire.NewReader(in, func(m wire.Message, n int) (tensor.Buffer, error) {
		in.until = time.Now().Add(timeout + time.Duration(n)*time.Second/minRate)
		return h.Reserve(l.peer, m, n)
	})
	for {
		in.until = time.Time{}
		if err := rd.Wait(); err != nil {
			return err
		}
		in.until = time.Now().Add(timeout)
		f, err := rd.Next()
		var refused *wire.Refused
		switch {
		case errors.As(err, &refused):
			l.stats.refused.Add(1)
			l.touch()
			continue
		case err != nil:
			return err
		}
		l.stats.in.add(rd.HeaderBytes(), len(f.Payload.Data))
		l.touch()
		h.Frame(l.peer, f)
	}
}
