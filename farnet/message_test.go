package farnet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/google/go-cmp/cmp"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

func testPeer(i int) peer.ID { return peer.ID(binary.BigEndian.AppendUint32(nil, uint32(i))) }

func TestRequestSurvivesTheWire(t *testing.T) {
	q := &request{digests: []inference.Digest{testDigest("a"), testDigest("b")}, push: [][]byte{mustSign(t, "a", nil).bytes}}
	got, err := parseRequest(q.append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(q, got, cmp.AllowUnexported(request{})); d != "" {
		t.Error(d)
	}
	for i := range maxDigests {
		q.digests = append(q.digests, testDigest(string(rune(i))))
	}
	if _, err := parseRequest(q.append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many models: %v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add((&request{all: true}).append(nil))
	f.Add((&request{digests: []inference.Digest{testDigest("a")}, push: [][]byte{mustSign(f, "a", nil).bytes}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseRequest(b)
		if err != nil {
			return
		}
		if len(q.digests) > maxDigests || len(q.push) > maxPushed {
			t.Error("over its limits")
		}
		if _, err := parseRequest(q.append(nil)); err != nil {
			t.Error(err)
		}
	})
}

func FuzzReadMessages(f *testing.F) {
	frame := func(m message) []byte { return appendBytes(nil, m.append(nil)) }
	s := mustSign(f, "a", nil)
	f.Add(append(frame(message{kind: msgRecord, left: time.Minute, envelope: s.bytes}), frame(message{kind: msgEnd})...))
	f.Add(frame(message{kind: msgSuspect, suspect: s.peer}))
	f.Add(frame(message{kind: msgAlive}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		var buf []byte
		for {
			var err error
			if buf, err = readFrame(r, buf, maxMessage); err != nil {
				break
			}
			if m, err := parseMessage(buf); err == nil && m.kind == msgRecord {
				_, _ = parseSigned(m.envelope)
			}
		}
		if cap(buf) > 2*maxMessage {
			t.Errorf("%d bytes held for one message", cap(buf))
		}
	})
}

func FuzzParsePeers(f *testing.F) {
	f.Add([]byte(`{"bootstrap":["x"],"mdns":true,"peers":["/ip4/192.0.2.1/tcp/4744/p2p/12D3KooWDEyBDMj6bLvxVmNCHxXoY5T5JNEfRrxeotVJ4mFwoaMo"]}`))
	f.Add([]byte(`{"bootstrap":null,"peers":[""]}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, infos, err := parsePeers(b); err == nil && len(infos) > maxRemembered*addrsRemembered {
			t.Errorf("%d peers", len(infos))
		}
	})
}

// serveBytes has h answer snapshot requests with b.
func serveBytes(h *Node, b func(s network.Stream)) {
	h.host.SetStreamHandler(snapshotProtocol, func(s network.Stream) {
		defer s.Close()
		_, _ = readFrame(bufio.NewReader(s), nil, maxRequest)
		b(s)
	})
}

func TestHostileSnapshotIsRefused(t *testing.T) {
	a, evil := testNode(t, nil), testNode(t, nil)
	a.host.Peerstore().AddAddrs(evil.self, evil.host.Addrs(), time.Hour)
	q := &request{all: true}
	good := mustSign(t, "a", nil)
	hint := appendBytes(nil, (&message{kind: msgSuspect, suspect: good.peer}).append(nil))
	record := func(b []byte) []byte {
		return appendBytes(nil, (&message{kind: msgRecord, left: time.Minute, envelope: b}).append(nil))
	}
	forged := bytes.Clone(good.bytes)
	forged[len(forged)-1] ^= 1
	padded := appendBytes(nil, append([]byte{msgAlive}, make([]byte, maxMessage-1)...))
	for _, x := range []struct {
		name string
		send func(s network.Stream)
		want error
	}{
		{"huge frame", func(s network.Stream) { _, _ = s.Write([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}) }, ErrTooLarge},
		{"forged", func(s network.Stream) { _, _ = s.Write(record(forged)) }, ErrForged},
		{"garbage", func(s network.Stream) { _, _ = s.Write([]byte{3, 9, 9, 9}) }, ErrMalformed},
		{"padded", func(s network.Stream) { _, _ = s.Write(padded) }, ErrMalformed},
		{"endless", func(s network.Stream) {
			// Each message is fine, together they never end.
			b := bytes.Repeat(hint, 1000)
			for range 2 * maxSnapshot / len(b) {
				if _, err := s.Write(b); err != nil {
					return
				}
			}
		}, ErrTooLarge},
		{"cut", func(s network.Stream) { _, _ = s.Write(record(good.bytes)[:40]) }, nil},
	} {
		serveBytes(evil, x.send)
		err := a.exchange(t.Context(), evil.self, q)
		if err == nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
	if a.table.knows(good.peer) {
		t.Error("something was believed")
	}
	// The node still serves.
	serveBytes(evil, func(s network.Stream) {
		_, _ = s.Write(append(record(good.bytes), appendBytes(nil, []byte{msgEnd})...))
	})
	if err := a.exchange(t.Context(), evil.self, q); err != nil || !a.table.knows(good.peer) {
		t.Errorf("an honest snapshot afterwards: %v", err)
	}
}

func TestForgedPushIsRefused(t *testing.T) {
	a, evil := testNode(t, nil), testNode(t, nil)
	evil.host.Peerstore().AddAddrs(a.self, a.host.Addrs(), time.Hour)
	thief, _ := testKey("thief")
	s, err := sign(fullRecord("victim"), time.Minute, thief)
	if err != nil {
		t.Fatal(err)
	}
	if err := evil.exchange(t.Context(), a.self, &request{push: [][]byte{s.bytes}}); err == nil {
		t.Error("no error")
	}
	if a.table.knows(s.peer) {
		t.Error("believed")
	}
	good := mustSign(t, "a", nil)
	if err := evil.exchange(t.Context(), a.self, &request{push: [][]byte{good.bytes}}); err != nil || !a.table.knows(good.peer) {
		t.Errorf("an honest one: %v", err)
	}
}

// A neighbour whose own router checks nothing gossips what it likes: forged
// records go no further, the honest one that follows arrives.
func TestForgedGossipIsRejected(t *testing.T) {
	a := testNode(t, nil)
	good := mustSign(t, "a", nil)
	if err := a.Follow(t.Context(), good.record.Digest); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	key, _ := testKey("evil")
	evil, err := newHost(t.Context(), &cfg, &identity{key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	router, err := pubsub.NewGossipSub(ctx, evil, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithFloodPublish(true), pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string { return string(m.Data) }))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := router.Join(modelTopic + good.record.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := evil.Connect(ctx, peer.AddrInfo{ID: a.self, Addrs: a.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they share the topic", func() bool { return len(topic.ListPeers()) == 1 })
	thief, _ := testKey("thief")
	forged, err := sign(fullRecord("victim"), time.Minute, thief)
	if err != nil {
		t.Fatal(err)
	}
	other := mustSign(t, "b", func(r *inference.NodeRecord) { r.Digest = testDigest("another model") })
	for _, b := range [][]byte{forged.bytes, other.bytes, []byte("noise"), good.bytes} {
		if err := topic.Publish(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the honest one arrives", func() bool { return a.table.knows(good.peer) })
	if a.table.knows(forged.peer) || a.table.knows(other.peer) {
		t.Error("a forged or misplaced record was believed")
	}
}
