package inference

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Address is an account on the settlement chain.
type Address [20]byte

// String returns "0x" and 40 lower-case hexadecimal digits.
func (a Address) String() string { return "0x" + hex.EncodeToString(a[:]) }

// IsZero reports whether a is the zero address, which is nobody's.
func (a Address) IsZero() bool { return a == Address{} }

// MarshalText implements encoding.TextMarshaler.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Address) UnmarshalText(b []byte) error {
	v, err := ParseAddress(string(b))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

// ParseAddress reads 40 hexadecimal digits with or without "0x".
func ParseAddress(s string) (Address, error) {
	var a Address
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(a) {
		return a, fmt.Errorf("address %q: want 0x and 40 hexadecimal digits", s)
	}
	copy(a[:], b)
	return a, nil
}

// Line is one kind of billed work.
type Line uint8

// The billing lines. A unit of each is one (session, branch, position, block)
// computed, or found in the case of LineCached.
const (
	LinePrefill  Line = iota // prompt positions
	LineDecode               // generated positions
	LineDraft                // drafted positions that were verified
	LineCached               // positions whose KV was found
	LineRecovery             // positions that a replacement hop recomputed
	NumLines
)

// String returns the line's name in receipts and JSON.
func (l Line) String() string {
	if l < NumLines {
		return [...]string{"prefill", "decode", "draft", "cached", "recovery"}[l]
	}
	return fmt.Sprintf("line %d", uint8(l))
}

// Units counts token·blocks by billing line.
type Units [NumLines]uint64

// Add returns the sum, line by line.
func (u Units) Add(v Units) Units {
	for i := range u {
		u[i] += v[i]
	}
	return u
}

// Total returns the sum over all lines.
func (u Units) Total() (n uint64) {
	for _, v := range u {
		n += v
	}
	return n
}

// Quote is a node's price: wei per token·block, line by line.
type Quote [NumLines]Wei

// Cost prices u; ok is false when the amount does not fit 128 bits.
func (q Quote) Cost(u Units) (sum Wei, ok bool) {
	for i := range u {
		c, ok1 := q[i].Mul(u[i])
		s, ok2 := sum.Add(c)
		if !ok1 || !ok2 {
			return Wei{}, false
		}
		sum = s
	}
	return sum, true
}

// Dearest returns the price of the dearest line: what a token·block costs at
// most. Ceilings are held against it, so that no line can hide a price.
func (q Quote) Dearest() (most Wei) {
	for _, w := range q {
		if w.Cmp(most) > 0 {
			most = w
		}
	}
	return most
}

// Signature is a secp256k1 signature r ‖ s ‖ v, v = 27 or 28, s in the lower half.
type Signature [65]byte

// Voucher is a payer's promise to a node: everything due over the life of
// (Payer, Node, Series). A later voucher replaces an earlier one; the amount
// never falls. Signed as EIP-712 typed data by the payer.
type Voucher struct {
	Payer      Address
	Node       Address
	Series     uint64 // one client process
	Cumulative Wei
	Signature  Signature
}

// Receipt is a node's statement of what one session used it for since the
// session began, priced at the session's quote. Signed by the node's key.
type Receipt struct {
	Payer      Address
	Node       Address
	Series     uint64
	Session    SessionID
	Epoch      Epoch
	Digest     Digest
	Blocks     BlockRange
	Class      NumericsClass
	Units      Units // of this session, cumulative
	Amount     Wei   // of this session, cumulative: Quote.Cost(Units)
	Cumulative Wei   // of (Payer, Node, Series), all sessions
	Outcome    Outcome
	Signature  Signature
}

// Outcome says how a session ended at a node.
type Outcome uint8

// The outcomes of a session.
const (
	OutcomeOpen      Outcome = iota // still running
	OutcomeOK                       // closed by the client
	OutcomeAbort                    // the client vanished or cancelled
	OutcomeNodeFault                // the node failed it
)

// String returns the outcome's name in receipts and JSON.
func (o Outcome) String() string {
	if int(o) < 4 {
		return [...]string{"open", "ok", "client-abort", "node-fault"}[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}
