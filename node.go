package inference

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// NodeState is what a node says of itself.
type NodeState string

// The states of a node, in the order it passes through them.
const (
	StateJoining  NodeState = "joining"  // intends to serve Blocks, is loading them
	StateServing  NodeState = "serving"  // answers sessions
	StateDraining NodeState = "draining" // takes no new sessions
	StateGone     NodeState = "gone"     // said goodbye
)

// NodeRecord is what a node announces of itself. It carries only what changes
// by the minute; load is asked of the node. The peer's identity key signs it
// in package farnet, so a record seen elsewhere has been verified.
type NodeRecord struct {
	Peer     PeerID        `json:"peer"`
	Addrs    []string      `json:"addrs"`    // multiaddrs without /p2p
	Sequence uint64        `json:"sequence"` // rises with every record of this peer, also across restarts
	Name     string        `json:"name"`
	Model    ModelID       `json:"model"` // label
	Digest   Digest        `json:"digest"`
	Class    NumericsClass `json:"class"`
	Blocks   BlockRange    `json:"blocks"`       // hosted, or intended while joining
	Total    int           `json:"total_blocks"` // of the whole model
	State    NodeState     `json:"state"`
	Rates    Rates         `json:"rates"`
	Memory   int64         `json:"memory"` // KV budget, bytes
	Quote    Quote         `json:"quote"`
	Wallet   Address       `json:"wallet"` // paid by vouchers
	Signer   Address       `json:"signer"` // signs receipts
	Relay    bool          `json:"relay"`  // reached only through a relay
	Version  string        `json:"version"`
	// RTTs to peers of the same model, milliseconds; at most 16.
	RTTs map[PeerID]float64 `json:"rtts,omitempty"`
	// Expires is set by the receiver: when to forget the record without news.
	Expires time.Time `json:"-"`
}

// Rates are measured by a node on itself, milliseconds per token·block; 0 = unmeasured.
type Rates struct {
	Decode  float64 `json:"decode_ms"`
	Prefill float64 `json:"prefill_ms"`
}

// PerSecond returns the tokens per second that the rates mean over a range of
// blocks, 0 where a rate is unmeasured.
func (r Rates) PerSecond(b BlockRange) (decode, prefill float64) {
	per := func(ms float64) float64 {
		if ms <= 0 {
			return 0
		}
		return 1000 / (ms * float64(b.Len()))
	}
	return per(r.Decode), per(r.Prefill)
}

// MaxName is the most bytes of a node's name.
const MaxName = 64

// ValidateName checks the name of a node: up to MaxName bytes that print, since
// it is shown on other people's terminals.
func ValidateName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("a name of %d bytes: want %d at most: %w", len(name), MaxName, ErrInvalid)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("name %q: a character that does not print: %w", name, ErrInvalid)
	}
	return nil
}

// Validate checks the limits that every receiver enforces.
func (r *NodeRecord) Validate() error {
	if r.Peer == "" || len(r.Peer) > 128 {
		return fmt.Errorf("node record: peer id of %d bytes: %w", len(r.Peer), ErrInvalid)
	}
	if len(r.Addrs) > 32 || len(r.RTTs) > 16 || len(r.Version) > 64 || len(r.Class) > 64 {
		return fmt.Errorf("node record of %s: a field is over its limit: %w", r.Peer.Short(), ErrInvalid)
	}
	if err := ValidateName(r.Name); err != nil {
		return fmt.Errorf("node record of %s: %w", r.Peer.Short(), err)
	}
	for _, a := range r.Addrs {
		if len(a) > 256 {
			return fmt.Errorf("node record of %s: address over 256 bytes: %w", r.Peer.Short(), ErrInvalid)
		}
	}
	if err := r.Model.Validate(); err != nil {
		return fmt.Errorf("node record of %s: %w", r.Peer.Short(), err)
	}
	if err := r.Blocks.Validate(); err != nil {
		return fmt.Errorf("node record of %s: %w", r.Peer.Short(), err)
	}
	if r.Total < r.Blocks.End || r.Total > MaxBlocks {
		return fmt.Errorf("node record of %s: blocks %s of %d: %w", r.Peer.Short(), r.Blocks, r.Total, ErrInvalid)
	}
	switch r.State {
	case StateJoining, StateServing, StateDraining, StateGone:
	default:
		return fmt.Errorf("node record of %s: state %q: %w", r.Peer.Short(), r.State, ErrInvalid)
	}
	return nil
}

// Load is what a node answers when asked, or piggybacks: what changes by the second.
type Load struct {
	Queue     int `json:"queue"`      // rows waiting
	Sessions  int `json:"sessions"`   // open
	FreePages int `json:"free_pages"` // KV pages of 16 positions, one block each
}

// Offer is what routing sees of one node: its record, its load where it is
// known, the round trip to it, and its score.
type Offer struct {
	Record NodeRecord
	Load   *Load         // nil: not asked
	Pages  int           // KV pages in all, of 16 positions and one block; 0: not known
	RTT    time.Duration // from the client; 0: unmeasured
	// Observed are the client's own measurements of the node; where non-zero
	// they count instead of what the record claims.
	Observed Rates
	Score    float64 // rating in [0,1]; see package rating
}

// Effective returns the rates to plan with: observed, else claimed.
func (o *Offer) Effective() Rates {
	r := o.Record.Rates
	if o.Observed.Decode > 0 {
		r.Decode = o.Observed.Decode
	}
	if o.Observed.Prefill > 0 {
		r.Prefill = o.Observed.Prefill
	}
	return r
}
