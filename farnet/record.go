package farnet

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// MaxRecordBytes bounds a signed record on the wire; a usual one has 400
	// to 600 bytes.
	MaxRecordBytes = 4096
	// maxInterval bounds what a record may claim as its announcement interval.
	maxInterval = time.Hour
	// recordVersion is the first byte of a record's payload.
	recordVersion = 1
	// recordDomain keeps a record's signature from being valid for anything
	// else that the identity key signs.
	recordDomain = "farlabs/node-record/1\x00"
)

// signedRecord is a record with the bytes that prove it.
//
//	envelope = uvarint(len payload) payload signature[64]
//	payload  = version interval sequence peer name model digest class blocks …
//
// Integers are minimal uvarints, text is length-prefixed, floats are 8 bytes
// big-endian, map entries ascend: one record has exactly one encoding. The
// signature is Ed25519 over recordDomain ‖ payload.
type signedRecord struct {
	record   inference.NodeRecord
	peer     peer.ID
	interval time.Duration // between the sender's announcements, whole milliseconds
	bytes    []byte        // the envelope; never changed once made
}

// key names the table row of the record.
func (s *signedRecord) key() recordKey { return recordKey{s.peer, s.record.Digest} }

// ttl is how long the record lives without news.
func (s *signedRecord) ttl() time.Duration { return 3 * s.interval }

// sign encodes and signs r; r.Peer must belong to key.
func sign(r inference.NodeRecord, interval time.Duration, key ed25519.PrivateKey) (*signedRecord, error) {
	if err := checkRecord(&r); err != nil {
		return nil, err
	}
	id, err := peer.Decode(string(r.Peer))
	if err != nil {
		return nil, fmt.Errorf("node record: peer id: %w", err)
	}
	payload := appendPayload(nil, &r, interval)
	sig := ed25519.Sign(key, append([]byte(recordDomain), payload...))
	b := append(appendBytes(nil, payload), sig...)
	if len(b) > MaxRecordBytes {
		return nil, fmt.Errorf("node record of %d bytes, at most %d: %w", len(b), MaxRecordBytes, ErrTooLarge)
	}
	return &signedRecord{record: r, peer: id, interval: interval.Truncate(time.Millisecond), bytes: b}, nil
}

// parseSigned reads an envelope and checks its form, its limits and its
// signature. It keeps a copy of b.
func parseSigned(b []byte) (*signedRecord, error) {
	if len(b) > MaxRecordBytes {
		return nil, fmt.Errorf("node record of %d bytes: %w", len(b), ErrTooLarge)
	}
	r := reader{b: b}
	payload := r.bytes(MaxRecordBytes)
	sig := r.take(ed25519.SignatureSize)
	if r.failed || len(r.b) != 0 {
		return nil, fmt.Errorf("node record: %w", ErrMalformed)
	}
	rec, interval, err := parsePayload(payload)
	if err != nil {
		return nil, err
	}
	// Whatever has a second encoding could be signed once and gossiped twice.
	if !bytes.Equal(appendPayload(nil, &rec, interval), payload) {
		return nil, fmt.Errorf("node record: not canonical: %w", ErrMalformed)
	}
	if err := checkRecord(&rec); err != nil {
		return nil, err
	}
	id, err := peer.Decode(string(rec.Peer))
	if err != nil || id.String() != string(rec.Peer) {
		return nil, fmt.Errorf("node record: peer id: %w", ErrMalformed)
	}
	pub, err := id.ExtractPublicKey()
	if err != nil || pub.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("node record of %s: peer id holds no Ed25519 key: %w", rec.Peer.Short(), ErrMalformed)
	}
	ok, err := pub.Verify(append([]byte(recordDomain), payload...), sig)
	if err != nil || !ok {
		return nil, fmt.Errorf("node record of %s: %w", rec.Peer.Short(), ErrForged)
	}
	return &signedRecord{record: rec, peer: id, interval: interval, bytes: bytes.Clone(b)}, nil
}

// checkRecord adds to Validate what matters to readers of foreign records:
// measures are numbers, and no text holds control characters that would reach
// somebody's terminal.
func checkRecord(r *inference.NodeRecord) error {
	if err := r.Validate(); err != nil {
		return err
	}
	for _, f := range []float64{r.Rates.Decode, r.Rates.Prefill} {
		if !measure(f) {
			return fmt.Errorf("node record of %s: rate %v: %w", r.Peer.Short(), f, inference.ErrInvalid)
		}
	}
	for p, f := range r.RTTs {
		if !measure(f) || !printable(string(p), 128) {
			return fmt.Errorf("node record of %s: round trip %v: %w", r.Peer.Short(), f, inference.ErrInvalid)
		}
	}
	if r.Memory < 0 {
		return fmt.Errorf("node record of %s: memory %d: %w", r.Peer.Short(), r.Memory, inference.ErrInvalid)
	}
	for _, s := range append([]string{string(r.Peer), r.Name, string(r.Class), r.Version}, r.Addrs...) {
		if !printable(s, 256) {
			return fmt.Errorf("node record of %s: text %q: %w", r.Peer.Short(), s, inference.ErrInvalid)
		}
	}
	return nil
}

// measure reports whether f can be a time in milliseconds.
func measure(f float64) bool { return f >= 0 && f <= 1e9 }

func printable(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

func appendPayload(b []byte, r *inference.NodeRecord, interval time.Duration) []byte {
	text := func(s string) { b = appendBytes(b, s) }
	num := func(n uint64) { b = binary.AppendUvarint(b, n) }
	float := func(f float64) { b = binary.BigEndian.AppendUint64(b, math.Float64bits(f)) }

	b = append(b, recordVersion)
	num(uint64(interval.Milliseconds()))
	num(r.Sequence)
	text(string(r.Peer))
	text(r.Name)
	text(string(r.Model))
	b = append(b, r.Digest[:]...)
	text(string(r.Class))
	num(uint64(r.Blocks.Start))
	num(uint64(r.Blocks.End))
	num(uint64(r.Total))
	text(string(r.State))
	float(r.Rates.Decode)
	float(r.Rates.Prefill)
	num(uint64(r.Memory))
	for _, w := range r.Quote {
		num(w.Hi)
		num(w.Lo)
	}
	b = append(b, r.Wallet[:]...)
	b = append(b, r.Signer[:]...)
	if r.Relay {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	text(r.Version)
	num(uint64(len(r.Addrs)))
	for _, a := range r.Addrs {
		text(a)
	}
	peers := make([]inference.PeerID, 0, len(r.RTTs))
	for p := range r.RTTs {
		peers = append(peers, p)
	}
	slices.Sort(peers)
	num(uint64(len(peers)))
	for _, p := range peers {
		text(string(p))
		float(r.RTTs[p])
	}
	return b
}

// appendBytes appends the length of s and s.
func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func parsePayload(b []byte) (rec inference.NodeRecord, interval time.Duration, err error) {
	r := reader{b: b}
	bad := func(what string) (inference.NodeRecord, time.Duration, error) {
		return inference.NodeRecord{}, 0, fmt.Errorf("node record: %s: %w", what, ErrMalformed)
	}
	if v := r.take(1); r.failed || v[0] != recordVersion {
		return bad("version")
	}
	ms := r.uvarint()
	if ms == 0 || ms > uint64(maxInterval.Milliseconds()) {
		return bad("interval")
	}
	interval = time.Duration(ms) * time.Millisecond
	rec.Sequence = r.uvarint()
	rec.Peer = inference.PeerID(r.bytes(128))
	rec.Name = string(r.bytes(64))
	rec.Model = inference.ModelID(r.bytes(128))
	copy(rec.Digest[:], r.take(len(rec.Digest)))
	rec.Class = inference.NumericsClass(r.bytes(64))
	rec.Blocks.Start = int(r.limited(inference.MaxBlocks))
	rec.Blocks.End = int(r.limited(inference.MaxBlocks))
	rec.Total = int(r.limited(inference.MaxBlocks))
	rec.State = inference.NodeState(r.bytes(16))
	rec.Rates.Decode = r.float()
	rec.Rates.Prefill = r.float()
	rec.Memory = int64(r.limited(math.MaxInt64))
	for i := range rec.Quote {
		rec.Quote[i] = inference.Wei{Hi: r.uvarint(), Lo: r.uvarint()}
	}
	copy(rec.Wallet[:], r.take(len(rec.Wallet)))
	copy(rec.Signer[:], r.take(len(rec.Signer)))
	rec.Relay = r.limited(1) == 1
	rec.Version = string(r.bytes(64))
	for range r.limited(32) {
		rec.Addrs = append(rec.Addrs, string(r.bytes(256)))
	}
	n := r.limited(16)
	if n > 0 {
		rec.RTTs = make(map[inference.PeerID]float64, n)
	}
	for range n {
		p := inference.PeerID(r.bytes(128))
		rec.RTTs[p] = r.float()
	}
	if r.failed || len(r.b) != 0 {
		return bad("fields")
	}
	return rec, interval, nil
}

// reader takes fields off the front of b. After a failure it returns zeros,
// so that a parser checks once, at the end.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) fail() { r.failed, r.b = true, nil }

// take returns the next n bytes, borrowed; nil after a failure.
func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.failed || n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// limited reads an integer and fails when it is above most.
func (r *reader) limited(most uint64) uint64 {
	v := r.uvarint()
	if v > most {
		r.fail()
		return 0
	}
	return v
}

// bytes reads a length and that many bytes, borrowed.
func (r *reader) bytes(most int) []byte { return r.take(int(r.limited(uint64(most)))) }

func (r *reader) float() float64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b))
}
