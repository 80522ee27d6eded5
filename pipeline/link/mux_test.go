package link_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/link/linktest"
	"github.com/farlabs/inference/pipeline/wire"
)

// node is a handler that keeps what it is given.
type node struct {
	id   inference.PeerID
	mux  *link.Mux
	net  *linktest.Peer
	pool *tensor.Pool

	mu     sync.Mutex
	frames []*wire.Frame
	downs  []error
	log    []string // order of frames and downs
	refuse error
	hook   func(from inference.PeerID, f *wire.Frame)
}

func (h *node) Reserve(_ inference.PeerID, _ wire.Message, n int) (tensor.Buffer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return tensor.Buffer{}, h.refuse
	}
	return h.pool.Get(tensor.I32, 1, n/4), nil
}

func (h *node) Frame(from inference.PeerID, f *wire.Frame) {
	h.mu.Lock()
	h.frames = append(h.frames, f)
	h.log = append(h.log, f.Message.Kind().String())
	hook := h.hook
	h.mu.Unlock()
	if hook != nil {
		hook(from, f)
	}
}

func (h *node) Down(_ inference.PeerID, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.downs = append(h.downs, err)
	h.log = append(h.log, "down")
}

func (h *node) got() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.frames)
}

func (h *node) down() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.downs)
}

func (h *node) close() {
	h.mux.Close()
	h.net.Wait()
	for _, f := range h.frames {
		f.Release()
	}
}

func newNode(t *testing.T, n *linktest.Network, id inference.PeerID, change func(*link.Config)) *node {
	h := &node{id: id, net: n.Peer(id), pool: tensor.NewPool(1 << 30)}
	cfg := link.Config{Dialer: h.net, Handler: h}
	if change != nil {
		change(&cfg)
	}
	h.mux = link.New(cfg)
	h.net.Serve(h.mux)
	return h
}

// bubble runs f in a synctest bubble with two peers and checks that no payload
// leaks.
func bubble(t *testing.T, f func(t *testing.T, n *linktest.Network, a, b *node)) {
	synctest.Test(t, func(t *testing.T) {
		n := linktest.New()
		a, b := newNode(t, n, "a", nil), newNode(t, n, "b", nil)
		f(t, n, a, b)
		a.close()
		b.close()
		if a.pool.Live() != 0 || b.pool.Live() != 0 {
			t.Errorf("payload bytes leaked: %d at a, %d at b", a.pool.Live(), b.pool.Live())
		}
	})
}

func probe(nonce int) *wire.Frame {
	return &wire.Frame{Message: &wire.Probe{Nonce: uint64(nonce)}}
}

func output(h *node, seq, bytes int) *wire.Frame {
	p := h.pool.Get(tensor.I32, 1, bytes/4)
	for i := range p.Data {
		p.Data[i] = byte(i * seq)
	}
	return &wire.Frame{Message: &wire.Output{Seq: uint64(seq), Payload: wire.PayloadHidden, Rows: []wire.Row{{N: 1}}}, Payload: p}
}

func TestFramesArriveInOrderWithTheirPayloads(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Delay("a", "b", 10*time.Millisecond)
		sizes := []int{64, 4096, 32 << 10, 40 << 10, 300 << 10, 3 << 20, 64}
		for i, size := range sizes {
			if err := a.mux.Send("b", output(a, i+1, size)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if b.got() != len(sizes) {
			t.Fatalf("%d frames of %d", b.got(), len(sizes))
		}
		last := map[wire.Channel]uint64{}
		for _, f := range b.frames {
			m := f.Message.(*wire.Output)
			if m.Seq <= last[f.Channel()] {
				t.Errorf("seq %d after %d on channel %d", m.Seq, last[f.Channel()], f.Channel())
			}
			last[f.Channel()] = m.Seq
			if len(f.Payload.Data) != sizes[m.Seq-1] {
				t.Fatalf("seq %d: %d bytes", m.Seq, len(f.Payload.Data))
			}
			for i, v := range f.Payload.Data {
				if v != byte(i*int(m.Seq)) {
					t.Fatalf("seq %d: byte %d is wrong", m.Seq, i)
				}
			}
		}
		out, in := a.mux.Stats("b").Out, b.mux.Stats("a").In
		if out != in || out.Frames != uint64(len(sizes)) {
			t.Errorf("sent %+v, received %+v", out, in)
		}
	})
}

func TestAnswersGoBackOnTheDialledStreams(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Wall("b", "a")
		if err := a.mux.Connect(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if err := b.mux.Send("a", probe(7)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.got() != 1 || b.mux.Stats("a").Links != 1 {
			t.Errorf("a has %d frames; b began %d links", a.got(), b.mux.Stats("a").Links)
		}
	})
}

func TestReadyFramesLeaveInOneWrite(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Delay("a", "b", 5*time.Millisecond)
		for i := range 100 {
			a.mux.Send("b", probe(i)) // all before the stream is up
		}
		time.Sleep(time.Second)
		if b.got() != 100 {
			t.Fatalf("%d frames", b.got())
		}
		if w := a.mux.Stats("b").Writes; w != 1 {
			t.Errorf("100 frames took %d writes", w)
		}
	})
}

func TestBothSidesMayDialAtOnce(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Millisecond, 9 * time.Millisecond, 10 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond} {
		bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
			n.Delay("a", "b", 10*time.Millisecond)
			for i := range 5 {
				a.mux.Send("b", probe(i))
			}
			time.Sleep(skew)
			for i := range 5 {
				b.mux.Send("a", probe(i))
			}
			time.Sleep(time.Second)
			for i := range 5 {
				a.mux.Send("b", probe(5+i))
				b.mux.Send("a", probe(5+i))
			}
			time.Sleep(time.Second)
			for _, h := range []*node{a, b} {
				if h.got() != 10 || h.down() != 0 {
					t.Fatalf("skew %v: %s got %d frames, %d downs %v", skew, h.id, h.got(), h.down(), h.downs)
				}
				for i, f := range h.frames {
					if f.Message.(*wire.Probe).Nonce != uint64(i) {
						t.Errorf("skew %v: %s: frame %d has nonce %d", skew, h.id, i, f.Message.(*wire.Probe).Nonce)
					}
				}
			}
		})
	}
}

func TestLossIsReportedOnceAndTheNextSendBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Delay("a", "b", 10*time.Millisecond)
		for round := 1; round <= 20; round++ {
			if err := a.mux.Send("b", probe(round)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			if a.down() != round-1 || b.down() != round-1 || b.got() != round {
				t.Fatalf("round %d: downs %d and %d, %d frames", round, a.down(), b.down(), b.got())
			}
			n.Break("a", "b")
			synctest.Wait()
			if a.down() != round || b.down() != round {
				t.Fatalf("round %d after the break: downs %d and %d", round, a.down(), b.down())
			}
		}
	})
}

// A side that has noticed a loss earlier than the other dials while the other
// still holds the old link: the new one must not die with it.
func TestNewLinkDoesNotDieWithTheOld(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Delay("a", "b", 10*time.Millisecond)
		a.mux.Send("b", probe(0))
		time.Sleep(time.Second)
		for i := range 50 {
			n.Freeze("b") // b hears of the reset only together with the new streams
			a.mux.Disconnect("b")
			synctest.Wait()
			a.mux.Send("b", probe(1+2*i))
			n.Thaw("b")
			time.Sleep(time.Second)
			b.mux.Send("a", probe(i))
			time.Sleep(time.Second)
			if b.down() != i+1 || a.down() != i+1 || a.got() != i+1 || b.got() != i+2 {
				t.Fatalf("round %d: downs %d %d, frames %d %d: %v", i, a.down(), b.down(), a.got(), b.got(), b.downs)
			}
		}
	})
}

func TestDownComesBeforeFramesOfTheNextLink(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		for i := range 100 {
			a.mux.Send("b", probe(i))
			synctest.Wait()
			go a.mux.Disconnect("b")
			a.mux.Send("b", probe(i))
			a.mux.Send("b", probe(i))
			synctest.Wait()
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if n := len(b.downs); n != int(b.mux.Stats("a").Links)-1 && n != int(b.mux.Stats("a").Links) {
			t.Errorf("%d downs of %d links", n, b.mux.Stats("a").Links)
		}
	})
}

func TestUnreachablePeerLosesWhatWasQueued(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Wall("a", "b")
		if err := a.mux.Connect(t.Context(), "b"); !errors.Is(err, linktest.ErrUnreachable) {
			t.Errorf("connect: %v", err)
		}
		synctest.Wait()
		if a.down() != 0 {
			t.Errorf("a link that carried nothing was reported lost")
		}
		a.mux.Send("b", output(a, 1, 4096))
		synctest.Wait()
		if a.down() != 1 {
			t.Errorf("%d downs", a.down())
		}
	})
}

func TestPeerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Freeze("b")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if err := a.mux.Connect(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("connect: %v", err)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("connect took %v", d)
		}
		a.mux.Send("b", probe(1))
		time.Sleep(10 * time.Second)
		if a.down() != 1 {
			t.Errorf("%d downs", a.down())
		}
	})
}

func TestCloseDeliversWhatIsQueued(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		n.Delay("a", "b", 20*time.Millisecond)
		a.mux.Connect(t.Context(), "b")
		for i := range 10 {
			a.mux.Send("b", probe(i))
			a.mux.Send("b", output(a, i+1, 100<<10))
		}
		a.mux.Close()
		time.Sleep(100 * time.Millisecond)
		if b.got() != 20 || b.down() != 1 {
			t.Errorf("%d frames of 20, %d downs", b.got(), b.down())
		}
		if err := a.mux.Send("b", output(a, 1, 64)); !errors.Is(err, link.ErrClosed) {
			t.Errorf("send after close: %v", err)
		}
	})
}

func TestManySendersRace(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 100 {
					from, to := a, b
					if g%2 == 1 {
						from, to = b, a
					}
					from.mux.Send(to.id, output(from, i, 64<<(i%11)))
					if i == 50 && g < 2 {
						n.Break("a", "b")
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		a.mux.Send("b", probe(1))
		b.mux.Send("a", probe(1))
		time.Sleep(time.Second)
		for _, h := range []*node{a, b} {
			h.mu.Lock()
			if h.log[len(h.log)-1] != "probe" {
				t.Errorf("%s: the link did not recover: %v", h.id, h.log[len(h.log)-1])
			}
			h.mu.Unlock()
		}
	})
}
