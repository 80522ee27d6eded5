package farnet

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// testKey is the same key for the same name.
func testKey(name string) (ed25519.PrivateKey, inference.PeerID) {
	d := testDigest("key of " + name)
	key := ed25519.NewKeyFromSeed(d[:])
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		panic(err)
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		panic(err)
	}
	return key, inference.PeerID(id.String())
}

// fullRecord has a value in every field.
func fullRecord(name string) inference.NodeRecord {
	_, id := testKey(name)
	_, other := testKey("other")
	r := *testRecord("smollm2-135m-instruct:q4_1")
	r.Peer, r.Sequence = id, 1700000000123
	r.Addrs = []string{"/ip4/192.0.2.7/udp/4744/quic-v1", "/ip4/192.0.2.7/tcp/4744"}
	r.Quote = inference.Quote{inference.WeiOf(7), {Hi: 1, Lo: 2}, inference.WeiOf(math.MaxUint64)}
	r.Wallet, r.Signer = inference.Address{1, 2, 3}, inference.Address{4, 5}
	r.Relay = true
	r.RTTs = map[inference.PeerID]float64{other: 12.5, id: 0.25}
	return r
}

func mustSign(t testing.TB, name string, edit func(*inference.NodeRecord)) *signedRecord {
	t.Helper()
	r := fullRecord(name)
	if edit != nil {
		edit(&r)
	}
	key, _ := testKey(name)
	s, err := sign(r, 30*time.Second, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignedRecordSurvivesTheWire(t *testing.T) {
	s := mustSign(t, "a", nil)
	got, err := parseSigned(s.bytes)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(fullRecord("a"), got.record); d != "" {
		t.Error(d)
	}
	if got.interval != 30*time.Second || got.ttl() != 90*time.Second || got.key() != s.key() || !bytes.Equal(got.bytes, s.bytes) {
		t.Errorf("envelope changed: %+v", got)
	}
	if n := len(s.bytes); n > 700 {
		t.Errorf("a usual record has %d bytes", n)
	}
}

func TestForgedRecordIsRefused(t *testing.T) {
	// Somebody else's key.
	r := fullRecord("victim")
	thief, _ := testKey("thief")
	s, err := sign(r, 30*time.Second, thief)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseSigned(s.bytes); !errors.Is(err, ErrForged) {
		t.Errorf("signed by another: %v", err)
	}
	// Any changed byte.
	good := mustSign(t, "a", nil)
	for i := range good.bytes {
		b := bytes.Clone(good.bytes)
		b[i] ^= 1
		if _, err := parseSigned(b); err == nil {
			t.Fatalf("byte %d of %d changed, and nobody minds", i, len(b))
		}
	}
	// Any cut.
	for i := range good.bytes {
		if _, err := parseSigned(good.bytes[:i]); err == nil {
			t.Fatalf("cut to %d bytes, and nobody minds", i)
		}
	}
	if _, err := parseSigned(append(bytes.Clone(good.bytes), 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestRecordWithUnfitFieldsIsRefused(t *testing.T) {
	key, _ := testKey("a")
	for name, edit := range map[string]func(*inference.NodeRecord){
		"blocks":           func(r *inference.NodeRecord) { r.Blocks.End = r.Total + 1 },
		"negative rate":    func(r *inference.NodeRecord) { r.Rates.Decode = -1 },
		"not a number":     func(r *inference.NodeRecord) { r.Rates.Prefill = math.NaN() },
		"infinite":         func(r *inference.NodeRecord) { r.RTTs = map[inference.PeerID]float64{"x": math.Inf(1)} },
		"terminal escapes": func(r *inference.NodeRecord) { r.Name = "\x1b[2J" },
		"broken text":      func(r *inference.NodeRecord) { r.Version = "\xff" },
		"memory":           func(r *inference.NodeRecord) { r.Memory = -1 },
		"state":            func(r *inference.NodeRecord) { r.State = "asleep" },
		"peer":             func(r *inference.NodeRecord) { r.Peer = "me" },
	} {
		r := fullRecord("a")
		edit(&r)
		if _, err := sign(r, time.Second, key); err == nil {
			t.Errorf("%s: signed", name)
		}
		// What a stranger signs without checking must not pass either.
		payload := appendPayload(nil, &r, time.Second)
		sig := ed25519.Sign(key, append([]byte(recordDomain), payload...))
		b := appendBytes(nil, payload)
		if _, err := parseSigned(append(b, sig...)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r := fullRecord("a")
	for range 30 {
		r.Addrs = append(r.Addrs, "/dns/"+strings.Repeat("a", 200))
	}
	if _, err := sign(r, time.Second, key); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized: %v", err)
	}
	if _, err := parseSigned(make([]byte, MaxRecordBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized bytes: %v", err)
	}
}

func FuzzParseSigned(f *testing.F) {
	s := mustSign(f, "a", nil)
	f.Add(s.bytes)
	f.Add(mustSign(f, "b", func(r *inference.NodeRecord) { r.RTTs, r.Addrs = nil, nil }).bytes)
	f.Add(s.bytes[:len(s.bytes)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSigned(b)
		if err == nil && !bytes.Equal(s.bytes, b) {
			t.Error("accepted with other bytes")
		}
		// The signature keeps most inputs out; the fields are tried without it.
		r, interval, err := parsePayload(b)
		if err == nil && checkRecord(&r) == nil {
			again, _, err := parsePayload(appendPayload(nil, &r, interval))
			if err != nil || again.Peer != r.Peer || again.Sequence != r.Sequence {
				t.Errorf("not the same twice: %v", err)
			}
		}
	})
}

func BenchmarkParseSigned(b *testing.B) {
	s := mustSign(b, "a", nil)
	for b.Loop() {
		if _, err := parseSigned(s.bytes); err != nil {
			b.Fatal(err)
		}
	}
}
