package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
)

// Kind is the first byte of a header.
type Kind uint8

// The kinds of message. Values never change; new ones are added at the end.
const (
	KindOpen Kind = iota + 1
	KindOpened
	KindStep
	KindOutput
	KindProgress
	KindProbe
	KindCredit
	KindVoucher
	KindReceipt
	KindClose
	KindFail
	KindLoadQuery
	KindLoad
	KindReplay
	KindResume
	KindAttach
	KindSampling
	kindEnd
)

var kindNames = [kindEnd]string{
	KindOpen: "open", KindOpened: "opened", KindStep: "step", KindOutput: "output",
	KindProgress: "progress", KindProbe: "probe", KindCredit: "credit",
	KindVoucher: "voucher", KindReceipt: "receipt", KindClose: "close", KindFail: "fail",
	KindLoadQuery: "load query", KindLoad: "load", KindReplay: "replay",
	KindResume: "resume", KindAttach: "attach", KindSampling: "sampling",
}

// String returns the kind's name in logs and errors.
func (k Kind) String() string {
	if k > 0 && k < kindEnd {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// MarshalText makes logs in JSON bear the name too.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Message is one of the message types of this package.
type Message interface {
	Kind() Kind
	// Of returns the session the message belongs to; the zero id for the few
	// that belong to none.
	Of() inference.SessionID

	append(b []byte) []byte
	parse(d *decoder)
}

// Frame is a message with its payload. Whoever holds a frame owns the payload
// and releases it.
type Frame struct {
	Message Message
	// Payload holds the rows of a Step or Output: [rows, width] in the
	// session's wire dtype as raw bytes, or token ids as int32. Empty for the
	// other kinds.
	Payload tensor.Buffer
}

// Release gives the payload back to its pool.
func (f *Frame) Release() {
	f.Payload.Release()
	f.Payload = tensor.Buffer{}
}

// Channel returns the stream that the frame takes.
func (f *Frame) Channel() Channel {
	switch f.Message.Kind() {
	case KindStep, KindOutput:
		if len(f.Payload.Data) > BulkBytes {
			return Bulk
		}
		return Decode
	case KindAttach:
		return Bulk
	}
	return Control
}

// Append appends the encoded frame to b.
func (f *Frame) Append(b []byte) []byte { return append(f.AppendHeader(b), f.Payload.Data...) }

// AppendHeader appends everything of the encoded frame but the payload, which
// must follow it on the stream.
func (f *Frame) AppendHeader(b []byte) []byte {
	// The header is written behind the longest prefix that it can have, then
	// moved down to the prefix it has: no second buffer.
	const room = 2 * binary.MaxVarintLen64
	var gap [room]byte
	at := len(b)
	b = append(b, gap[:]...)
	b = f.Message.append(append(b, byte(f.Message.Kind())))
	n := len(b) - at - room
	rest := uvarintLen(uint64(n)) + n + len(f.Payload.Data)
	p := putUvarint(putUvarint(b[:at], uint64(rest)), uint64(n))
	return p[:len(p)+copy(b[len(p):], b[at+room:])]
}

// newMessage returns an empty message of kind k, nil if it is unknown.
func newMessage(k Kind) Message {
	switch k {
	case KindOpen:
		return new(Open)
	case KindOpened:
		return new(Opened)
	case KindStep:
		return new(Step)
	case KindOutput:
		return new(Output)
	case KindProgress:
		return new(Progress)
	case KindProbe:
		return new(Probe)
	case KindCredit:
		return new(Credit)
	case KindVoucher:
		return new(Voucher)
	case KindReceipt:
		return new(Receipt)
	case KindClose:
		return new(Close)
	case KindFail:
		return new(Fail)
	case KindLoadQuery:
		return new(LoadQuery)
	case KindLoad:
		return new(Load)
	case KindReplay:
		return new(Replay)
	case KindResume:
		return new(Resume)
	case KindAttach:
		return new(Attach)
	case KindSampling:
		return new(Sampling)
	}
	return nil
}

// ParseHeader decodes a frame's header.
func ParseHeader(h []byte) (Message, error) {
	if len(h) == 0 {
		return nil, fmt.Errorf("frame: empty header: %w", ErrMalformed)
	}
	m := newMessage(Kind(h[0]))
	if m == nil {
		return nil, fmt.Errorf("frame: unknown %s: %w", Kind(h[0]), ErrMalformed)
	}
	d := decoder{b: h[1:]}
	m.parse(&d)
	if d.err != nil {
		return nil, fmt.Errorf("frame: %s: %w", m.Kind(), d.err)
	}
	return m, nil
}
