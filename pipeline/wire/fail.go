package wire

import (
	"fmt"

	"github.com/farlabs/inference"
)

// Code classifies a failure. The gateway maps codes to HTTP statuses in one
// table of its own.
type Code uint8

// The codes. Values never change.
const (
	CodeInternal    Code = 1 // the stage's own fault
	CodeBusy        Code = 2 // queue, sessions or pages are full; RetryAfter says when
	CodeUnsupported Code = 3 // Feature names what is not served
	CodeBadRequest  Code = 4 // against the protocol
	CodeWrongModel  Code = 5 // digest, class or blocks are not served here
	CodeNoSession   Code = 6 // unknown, expired or ended
	// 7 is not used: frames of an epoch that is over are dropped without a word.
	CodeForbidden Code = 8  // capability or peer
	CodePayment   Code = 9  // voucher refused or credit used up
	CodeLimit     Code = 10 // beyond the session's or the node's limits
	CodeDeadline  Code = 11 // the session's deadline passed
	CodeDraining  Code = 12 // the node is leaving
	CodeNextHop   Code = 13 // the next hop does not take steps; Hop names it
	CodeCutShort  Code = 14 // the step was dropped with its session
	CodeNoRoom    Code = 15 // the node's KV cache is too small for the session, also if it were alone there
	codeEnd       Code = 16
)

var codeNames = [codeEnd]string{
	CodeInternal: "internal error", CodeBusy: "busy", CodeUnsupported: "unsupported",
	CodeBadRequest: "bad request", CodeWrongModel: "wrong model", CodeNoSession: "no such session",
	CodeForbidden: "forbidden", CodePayment: "payment required",
	CodeLimit: "over limit", CodeDeadline: "deadline passed", CodeDraining: "draining",
	CodeNextHop: "next hop unreachable", CodeCutShort: "cut short",
	CodeNoRoom: "KV cache too small",
}

// String returns the code's name in errors.
func (c Code) String() string {
	if c < codeEnd && codeNames[c] != "" {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// MarshalText makes logs in JSON bear the name too.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Retryable reports whether another peer, or the same one later, may succeed.
func (c Code) Retryable() bool {
	switch c {
	case CodeUnsupported, CodeBadRequest, CodePayment, CodeLimit, CodeDeadline:
		return false
	}
	return true
}

// Fail tells the client that a session, or one step of it, failed at a hop.
type Fail struct {
	Session    inference.SessionID
	Epoch      inference.Epoch
	Seq        uint64 // 0: the whole session
	Hop        uint8  // at fault
	Code       Code
	Feature    string // with CodeUnsupported
	Text       string // for people, names what to do next
	RetryAfter uint32 // milliseconds, with CodeBusy
}

// Kind implements Message.
func (*Fail) Kind() Kind { return KindFail }

// Of implements Message.
func (m *Fail) Of() inference.SessionID { return m.Session }

// Error implements error.
func (m *Fail) Error() string {
	if m.Text == "" {
		return m.Code.String()
	}
	return m.Code.String() + ": " + m.Text
}

func (m *Fail) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = putUvarint(b, m.Seq)
	b = append(b, m.Hop, byte(m.Code))
	b = putString(b, clip(m.Feature))
	b = putString(b, clip(m.Text))
	return putUvarint(b, uint64(m.RetryAfter))
}

func (m *Fail) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Seq = d.uvarint()
	m.Hop = d.byte()
	m.Code = Code(d.byte())
	m.Feature = d.string()
	m.Text = d.string()
	m.RetryAfter = d.u32()
}

func clip(s string) string {
	if len(s) > MaxString {
		return s[:MaxString]
	}
	return s
}
