// Package inference holds the nouns that every other package speaks: which
// model ([ModelID], [Digest]), which part of it ([BlockRange]), who ([PeerID],
// [Address]), what was said ([TokenID], [Usage]) and what it costs ([Wei],
// [Quote], [Voucher], [Receipt]).
//
// A noun here has a text form, a Validate method and nothing else: no I/O, no
// policy, no clock. The package imports the standard library only, and every
// other package of the module may import it.
package inference

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ModelID names a model as people write it: a catalog id and a variant,
// "smollm2-135m-instruct:q4_1". The variant may be absent. It is a label;
// identity is the [Digest].
type ModelID string

// Split returns the id without its variant, and the variant ("" when absent).
func (m ModelID) Split() (id, variant string) {
	id, variant, _ = strings.Cut(string(m), ":")
	return id, variant
}

// Validate reports whether m is usable as a label: 1 to 128 bytes of lower
// case letters, digits, '-', '_', '.', '/' and one ':' before the variant.
func (m ModelID) Validate() error {
	if len(m) == 0 || len(m) > 128 {
		return fmt.Errorf("model id %q: must have 1 to 128 characters", string(m))
	}
	if strings.Count(string(m), ":") > 1 {
		return fmt.Errorf("model id %q: more than one ':'", string(m))
	}
	for _, r := range string(m) {
		ok := r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:", r)
		if !ok {
			return fmt.Errorf("model id %q: character %q not allowed", string(m), r)
		}
	}
	return nil
}

// Digest is the SHA-256 root of a model's manifest. Peers may share a chain
// only when their digests are equal.
type Digest [32]byte

// String returns the 64 hexadecimal digits of d.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short returns the first 12 hexadecimal digits, for people.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(b []byte) error {
	v, err := ParseDigest(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ParseDigest reads the form that String writes.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("digest %q: want 64 hexadecimal digits", s)
	}
	copy(d[:], b)
	return d, nil
}

// PeerID is the libp2p peer id in its text form ("12D3Koo…"). The packages
// that never dial treat it as an opaque name.
type PeerID string

// Short returns the last six characters, enough for people to tell peers apart.
func (p PeerID) Short() string {
	if len(p) <= 6 {
		return string(p)
	}
	return "…" + string(p[len(p)-6:])
}

// TokenID is an index into a model's vocabulary.
type TokenID int32

// SessionID names one session of one client; chosen at random by the client.
type SessionID [16]byte

// String returns the 32 hexadecimal digits of s.
func (s SessionID) String() string { return hex.EncodeToString(s[:]) }

// MarshalText implements encoding.TextMarshaler.
func (s SessionID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Epoch counts the routes a session has had. Every reroute raises it; frames
// of an older epoch are dropped.
type Epoch uint32

// NumericsClass names the arithmetic a peer computes with: activation dtype,
// KV dtype, version of the ops. Within a class results are equal bit for bit.
// See [Numerics.Class].
type NumericsClass string

// WireDType is the dtype to which the residual stream is rounded at every
// block boundary, and in which it travels.
type WireDType uint8

// The wire dtypes. Int8 is reserved by the protocol and not served yet.
const (
	WireF32  WireDType = 1
	WireBF16 WireDType = 2
	WireInt8 WireDType = 3
)

// String returns "f32", "bf16" or "int8".
func (w WireDType) String() string {
	switch w {
	case WireF32:
		return "f32"
	case WireBF16:
		return "bf16"
	case WireInt8:
		return "int8"
	}
	return "wire dtype " + strconv.Itoa(int(w))
}

// Bytes returns the size of one element, 0 for an unknown dtype.
func (w WireDType) Bytes() int {
	switch w {
	case WireF32:
		return 4
	case WireBF16:
		return 2
	case WireInt8:
		return 1
	}
	return 0
}

// ParseWireDType reads "f32" or "bf16".
func ParseWireDType(s string) (WireDType, error) {
	switch s {
	case "f32":
		return WireF32, nil
	case "bf16":
		return WireBF16, nil
	}
	return 0, fmt.Errorf("wire dtype %q: want f32 or bf16", s)
}

// Usage counts tokens as the API reports them. Recovery and drafts are not in it.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	CachedTokens     int `json:"cached_tokens"` // part of PromptTokens whose KV was found, not computed
}

// Total returns prompt plus completion.
func (u Usage) Total() int { return u.PromptTokens + u.CompletionTokens }

// ErrInvalid is wrapped by every Validate error that has no narrower kind.
var ErrInvalid = errors.New("invalid")
