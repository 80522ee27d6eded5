package link_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/link/linktest"
	"github.com/farlabs/inference/pipeline/wire"
)

func TestStuckPeerIsDroppedAndOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := linktest.New()
		a, b, c := newNode(t, n, "a", nil), newNode(t, n, "b", nil), newNode(t, n, "c", nil)
		a.mux.Connect(t.Context(), "b")
		a.mux.Connect(t.Context(), "c")
		n.Freeze("b")
		for i := range 100 {
			if err := a.mux.Send("b", output(a, i+1, 256<<10)); err != nil {
				t.Fatal(err)
			}
			if err := a.mux.Send("c", output(a, i+1, 1024)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if c.got() != 100 {
			t.Errorf("the healthy peer has %d frames of 100", c.got())
		}
		time.Sleep(30 * time.Second)
		if a.down() != 1 || !errors.Is(a.downs[0], link.ErrStuck) {
			t.Errorf("downs: %v", a.downs)
		}
		for _, h := range []*node{a, b, c} {
			h.close()
		}
		if a.pool.Live() != 0 {
			t.Errorf("%d payload bytes leaked", a.pool.Live())
		}
	})
}

func TestControlDoesNotStandBehindBulk(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		a.mux.Connect(t.Context(), "b")
		n.Freeze("b")
		for i := range 20 {
			a.mux.Send("b", output(a, i+1, 1<<20))
		}
		a.mux.Send("b", probe(1))
		var first wire.Kind
		b.hook = func(_ inference.PeerID, f *wire.Frame) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if f.Message.Kind() == wire.KindProbe && len(b.frames) > 3 {
				t.Errorf("the probe came as frame %d", len(b.frames))
			}
			first = f.Message.Kind()
		}
		n.Thaw("b")
		time.Sleep(time.Second)
		if b.got() != 21 || first == 0 {
			t.Errorf("%d frames", b.got())
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		a.mux.Connect(t.Context(), "b")
		n.Freeze("b")
		var err error
		sent := 0
		for ; sent < 1000 && err == nil; sent++ {
			err = a.mux.Send("b", output(a, sent, 1<<20))
		}
		if !errors.Is(err, link.ErrQueueFull) {
			t.Fatalf("after %d MiB: %v", sent, err)
		}
		if sent > 83 || a.pool.Live() > 85<<20 {
			t.Errorf("%d MiB were taken, %d bytes held", sent, a.pool.Live())
		}
		if err := a.mux.Send("b", probe(1)); err != nil {
			t.Errorf("control beside a full bulk queue: %v", err)
		}
		n.Thaw("b")
		time.Sleep(time.Minute)
	})
}

func TestIdleLinkIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		a.mux.Send("b", probe(1))
		time.Sleep(14 * time.Minute)
		a.mux.Send("b", probe(2))
		time.Sleep(14 * time.Minute)
		if a.down()+b.down() != 0 {
			t.Fatalf("closed while in use")
		}
		time.Sleep(2 * time.Minute)
		if a.down() != 1 || b.down() != 1 || n.Streams("a", "b") != 0 {
			t.Errorf("downs %d %d, %d streams", a.down(), b.down(), n.Streams("a", "b"))
		}
	})
}

func TestRefusedPayloadLeavesTheLinkUp(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		b.refuse = errors.New("no memory")
		a.mux.Send("b", output(a, 1, 4096))
		synctest.Wait()
		a.mux.Send("b", probe(1))
		synctest.Wait()
		if b.got() != 1 || b.down() != 0 || b.mux.Stats("a").Refused != 1 {
			t.Errorf("%d frames, %d downs, %d refused", b.got(), b.down(), b.mux.Stats("a").Refused)
		}
	})
}

func TestControlQueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
		a.mux.Connect(t.Context(), "b")
		n.Freeze("b")
		var err error
		sent := 0
		for ; sent < 1_000_000 && err == nil; sent++ {
			err = a.mux.Send("b", probe(sent))
			if sent%1000 == 0 {
				synctest.Wait() // the writer takes what the stream takes
			}
		}
		if !errors.Is(err, link.ErrQueueFull) {
			t.Fatalf("after %d frames: %v", sent, err)
		}
		if q := a.mux.Stats("b").Queued; q > 4<<20 {
			t.Errorf("%d bytes wait", q)
		}
		n.Thaw("b")
		time.Sleep(time.Minute)
	})
}

func TestPeersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := linktest.New()
		hub := newNode(t, n, "hub", func(c *link.Config) { c.MaxPeers = 3 })
		var all []*node
		for i := range 5 {
			h := newNode(t, n, inference.PeerID(fmt.Sprint("p", i)), nil)
			all = append(all, h)
			h.mux.Send("hub", probe(i))
			synctest.Wait()
		}
		if hub.got() != 3 || len(hub.mux.Peers()) != 3 {
			t.Errorf("%d frames from %v", hub.got(), hub.mux.Peers())
		}
		if err := hub.mux.Send("p4", probe(1)); !errors.Is(err, link.ErrTooMany) {
			t.Errorf("send to a fourth peer: %v", err)
		}
		for _, h := range append(all, hub) {
			h.close()
		}
	})
}

func TestHostileBytesEndTheLinkOnly(t *testing.T) {
	greeting := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for name, bytes := range map[string][]byte{
		"huge length":       slices.Concat(greeting, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 1}),
		"unknown kind":      slices.Concat(greeting, []byte{2, 1, 250}),
		"header over frame": slices.Concat(greeting, []byte{2, 100, 1}),
		"payload of probe":  slices.Concat(greeting, []byte{40, 18, byte(wire.KindProbe)}, make([]byte, 60)),
		"greeting zero":     make([]byte, 16),
		"stops in a frame":  slices.Concat(greeting, []byte{50, 40, 1, 2}),
		"never greets":      nil,
	} {
		bubble(t, func(t *testing.T, n *linktest.Network, a, b *node) {
			s, err := n.Peer("evil").OpenStream(t.Context(), "b", wire.ProtocolControl)
			if err != nil {
				t.Fatal(err)
			}
			s.Write(bytes)
			time.Sleep(time.Minute)
			if n.Streams("evil", "b") != 0 {
				t.Errorf("%s: the stream is still open", name)
			}
			if b.got() != 0 {
				t.Errorf("%s: the handler got a frame", name)
			}
			a.mux.Send("b", probe(1))
			time.Sleep(time.Second)
			if b.got() != 1 {
				t.Errorf("%s: others are cut off", name)
			}
		})
	}
}
