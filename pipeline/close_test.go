package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

// mappedEnds have a head that takes until it may go on, and weights that may be gone.
type mappedEnds struct {
	plainEnds
	begun, goOn chan struct{}
	gone        atomic.Bool
	late        atomic.Bool // the head was used without weights
}

func (e *mappedEnds) Head(*device.Queue, tensor.Buffer, tensor.Buffer) error {
	e.begun <- struct{}{}
	<-e.goOn
	if e.gone.Load() {
		e.late.Store(true)
	}
	return nil
}

func TestClientWithoutADataDirectoryUsesTheUsers(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_DATA_HOME", home)
	dir := filepath.Join(home, "farlabs", "farclient")
	if got := DefaultDataDir(); got != dir {
		t.Errorf("%s, want %s", got, dir)
	}
	c, err := NewClient(context.Background(), ClientConfig{MDNS: "off", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "payer.key")); err != nil {
		t.Error(err)
	}
}

func TestClosedPipelineEndsItsSessionsBeforeTheWeightsGo(t *testing.T) {
	ends := &mappedEnds{begun: make(chan struct{}), goOn: make(chan struct{})}
	q := device.NewQueue(1)
	defer q.Close()
	p := New(Parts{Ends: ends, Queue: q, Exchange: NewExchange(tensor.NewPool(1 << 16)), Context: 100, Blocks: 6})
	p.close = func() error { ends.gone.Store(true); return nil }
	s, err := p.Open(context.Background(), SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := Hidden{Data: make([]float32, 4)}
	running, closed := make(chan error), make(chan error)
	go func() { _, err := s.Logits(h); running <- err }()
	<-ends.begun
	go func() { closed <- p.Close() }()
	<-s.live.Done()
	close(ends.goOn)
	if err := errors.Join(<-running, <-closed); err != nil || ends.late.Load() || !ends.gone.Load() {
		t.Errorf("%v, used without weights %v, released %v", err, ends.late.Load(), ends.gone.Load())
	}
	if _, err := s.Logits(h); !errors.Is(err, ErrClosed) {
		t.Errorf("logits afterwards: %v", err)
	}
	if _, err := s.Step(context.Background(), nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a step afterwards: %v", err)
	}
	if _, err := p.Open(context.Background(), SessionOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a session afterwards: %v", err)
	}
	p.parts.Exchange.Wait()
}

// dialling are Links that reach nobody until the caller gives up.
type dialling struct{ begun chan struct{} }

func (d dialling) Connect(ctx context.Context, _ inference.PeerID) error {
	select {
	case d.begun <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (dialling) Send(inference.PeerID, *wire.Frame) error { return nil }

func TestClosedClientEndsSessionsWithoutBlame(t *testing.T) {
	s, blamed := failing(t)
	x := s.p.parts.Exchange
	c := &Client{exchange: x, queue: device.NewQueue(1)}
	links := dialling{make(chan struct{}, 1)}
	s.p.parts.Links = links
	done := make(chan error)
	go func() {
		_, err := s.Step(context.Background(), nil, nil)
		done <- err
	}()
	<-links.begun
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	x.Down("a", errors.New("the links are closed"))
	if err := <-done; !errors.Is(err, ErrClosed) || len(blamed.kinds) > 0 {
		t.Errorf("%v, ratings were told %v", err, blamed.kinds)
	}
	if _, err := s.p.Open(context.Background(), SessionOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a session afterwards: %v", err)
	}
}
