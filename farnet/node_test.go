package farnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
)

func TestNodesAndClientLearnOfOneAnother(t *testing.T) {
	a := testNode(t, nil)
	announce(t, a, "m")
	b := testNode(t, func(c *Config) { c.Bootstrap = a.Addrs() })
	announce(t, b, "m")
	c := testClient(t, b.Addrs()...)
	if err := c.Follow(t.Context(), testDigest("m")); err != nil {
		t.Fatal(err)
	}
	t.Log("client", eventually(t, "the client sees both", func() bool { return sees(c, "m", a, b) }))
	t.Log("a", eventually(t, "a sees b", func() bool { return sees(a, "m", b) }))
	t.Log("b", eventually(t, "b sees a", func() bool { return sees(b, "m", a) }))
	d := testNode(t, func(c *Config) { c.Bootstrap = a.Addrs() })
	announce(t, d, "m")
	t.Log("join", eventually(t, "a newcomer is in the client's table", func() bool { return sees(c, "m", a, b, d) }))
	if m := c.Models(); len(m) != 1 || m[0].Model != "m" || m[0].Nodes != 3 || m[0].Total != 30 {
		t.Errorf("models %+v", m)
	}
	eventually(t, "the newcomer knows its way about", func() bool { return d.Peers() == 2 })
	d.Close()
	t.Log("leave", eventually(t, "who says goodbye is gone at once", func() bool { return sees(c, "m", a, b) && sees(a, "m", b) }))
}

func TestStreamsCarryBytesBothWays(t *testing.T) {
	a := testNode(t, nil)
	b := testNode(t, func(c *Config) { c.Bootstrap = a.Addrs() })
	a.Handle("/test/echo/1", func(p inference.PeerID, s Stream) {
		defer s.Close()
		if p != b.ID() {
			t.Errorf("stream from %s, want %s", p, b.ID())
		}
		_, _ = io.Copy(s, s)
	})
	<-b.Joined()
	s, err := b.OpenStream(t.Context(), a.ID(), "/test/echo/1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := s.Write([]byte("over and back")); err != nil {
		t.Fatal(err)
	}
	_ = s.CloseWrite()
	got, err := io.ReadAll(s)
	if err != nil || string(got) != "over and back" {
		t.Fatalf("%q, %v", got, err)
	}
	eventually(t, "a round trip is measured", func() bool {
		b.verify(a.self)
		return b.RTT(a.ID()) > 0
	})
}

func TestOpenStreamToUnknownPeerSaysSo(t *testing.T) {
	a, b := testNode(t, nil), testNode(t, nil)
	if _, err := a.OpenStream(t.Context(), b.ID(), "/test/1"); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("error %v, want ErrUnknownPeer", err)
	}
	if _, err := a.OpenStream(t.Context(), "nobody", "/test/1"); err == nil {
		t.Error("no error for what is no peer id")
	}
}

// TestDialToOldPortEndsWhenThereIsBetter dials a peer at a port that swallows
// everything, as that of a killed node does over UDP.
func TestDialToOldPortEndsWhenThereIsBetter(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	old := fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", silent.LocalAddr().(*net.UDPAddr).Port)
	node := func(t *testing.T) *Node { return testNode(t, nil) }
	for _, c := range []struct {
		name   string
		dials  func(t *testing.T) *Node
		better func(a, b *Node) error
	}{
		{"the peer connects", node, func(a, b *Node) error { return b.Connect(t.Context(), a.Addrs()...) }},
		{"its record comes", func(t *testing.T) *Node { return testClient(t) }, func(a, b *Node) error {
			if err := b.Announce(t.Context(), testRecord("m")); err != nil {
				return err
			}
			d := testDigest("m")
			return a.table.apply(b.table.list(&d)[0].signedRecord, time.Minute)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := c.dials(t), node(t)
			b.Handle("/test", func(_ inference.PeerID, s Stream) { _ = s.Close() })
			a.Learn(b.ID(), []string{old})
			errs := make(chan error, 1)
			go func() {
				s, err := a.OpenStream(t.Context(), b.ID(), "/test")
				if err == nil {
					_ = s.Close()
				}
				errs <- err
			}()
			select {
			case err := <-errs:
				t.Fatalf("the dial does not hang: %v", err)
			case <-time.After(200 * time.Millisecond):
			}
			if err := c.better(a, b); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
			if d := time.Since(begin); d > 2*time.Second { // a dial may take 5 s
				t.Errorf("the stream came %s later", d)
			}
		})
	}
}

func TestConnectTakesWhatAddrsPrints(t *testing.T) {
	a, b := testNode(t, nil), testNode(t, nil)
	if err := a.Connect(t.Context(), b.Addrs()...); err != nil {
		t.Fatal(err)
	}
	if err := a.Connect(t.Context(), "/ip4/127.0.0.1/tcp/1"); err == nil || !strings.Contains(err.Error(), "/p2p/") {
		t.Errorf("error %v does not show the right form", err)
	}
}

func TestAloneIsSaid(t *testing.T) {
	a := testNode(t, nil)
	select {
	case <-a.Joined():
	case <-time.After(3 * time.Second):
		t.Fatal("joining has no end")
	}
	if !a.Alone() || a.Peers() != 0 {
		t.Error("a node without anybody is not alone")
	}
	if err := a.Follow(t.Context(), testDigest("m")); err != nil {
		t.Errorf("following alone: %v", err)
	}
	b := testNode(t, func(c *Config) { c.Bootstrap = a.Addrs() })
	<-b.Joined()
	if b.Alone() {
		t.Error("a node with a neighbour is alone")
	}
	eventually(t, "the first node has company", func() bool { return !a.Alone() })
}

func TestClosedNodeRefuses(t *testing.T) {
	a := testNode(t, nil)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal("closing twice:", err)
	}
	if _, err := a.OpenStream(context.Background(), a.ID(), "/test/1"); !errors.Is(err, ErrClosed) {
		t.Errorf("open: %v", err)
	}
	if err := a.Announce(context.Background(), testRecord("m")); !errors.Is(err, ErrClosed) {
		t.Errorf("announce: %v", err)
	}
}

func TestFollowedModelsAreBounded(t *testing.T) {
	a := testNode(t, nil)
	<-a.Joined()
	for i := range maxTopics + 1 {
		err := a.Follow(t.Context(), testDigest(fmt.Sprint(i)))
		if full := i >= maxTopics; full != errors.Is(err, ErrTooLarge) {
			t.Errorf("model %d: %v", i, err)
		}
	}
}

// What a run before this one announced and nobody serves any more is taken
// back as soon as it comes to light.
func TestLeftoverOfEarlierRunIsTakenBack(t *testing.T) {
	a := testNode(t, nil)
	key, id := testKey("b")
	old := testRecord("left-over")
	old.Peer, old.Sequence = id, uint64(time.Now().Add(time.Hour).UnixMilli()) // a clock that was wrong, too
	s, err := sign(*old, time.Minute, key)
	if err != nil {
		t.Fatal(err)
	}
	if !a.learn(s, s.ttl()) || len(a.Records(old.Digest)) != 1 {
		t.Fatal("not in the table")
	}
	b := testNode(t, func(c *Config) { c.Key, c.Bootstrap = key, a.Addrs() })
	eventually(t, "it is gone", func() bool { return len(a.Records(old.Digest)) == 0 })
	announce(t, b, "m")
	eventually(t, "what is served now is seen", func() bool { return len(a.AllRecords()) == 1 })
}
