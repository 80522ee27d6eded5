package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/farlabs/inference/kernels/tensor"
)

// Reader reads frames from a stream. It is not safe for concurrent use.
type Reader struct {
	r      *bufio.Reader
	header []byte
	size   int
	// Reserve is asked for memory before a payload of n > 0 bytes is read. An
	// error makes the reader skip the payload; Next then returns the message
	// with that error in Refused.
	reserve func(m Message, n int) (tensor.Buffer, error)
}

// NewReader returns a Reader that asks reserve for the memory of payloads; the
// buffer it returns must hold exactly n bytes.
func NewReader(r io.Reader, reserve func(m Message, n int) (tensor.Buffer, error)) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 16<<10), reserve: reserve}
}

// Refused is returned by Next for a frame whose payload was skipped because no
// memory was reserved for it. The stream is intact.
type Refused struct {
	Message Message
	Err     error
}

// Error implements error.
func (e *Refused) Error() string { return fmt.Sprintf("%s: %v", e.Message.Kind(), e.Err) }

// Unwrap returns the reason.
func (e *Refused) Unwrap() error { return e.Err }

// Wait blocks until a frame has begun to arrive or the stream has ended, so
// that a caller can wait for frames without a deadline and then give the rest
// of a frame one.
func (r *Reader) Wait() error {
	_, err := r.r.Peek(1)
	return err
}

// Next reads one frame; the caller owns its payload. io.EOF means that the
// stream ended between frames. After any other error but *Refused the stream
// is of no further use.
func (r *Reader) Next() (*Frame, error) {
	total, err := r.length()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("frame length: %w", err)
	}
	if total > MaxHeader+MaxPayload {
		return nil, fmt.Errorf("frame of %d bytes, at most %d: %w", total, MaxHeader+MaxPayload, ErrMalformed)
	}
	n, err := r.length()
	if err != nil {
		return nil, fmt.Errorf("header length: %w", noEOF(err))
	}
	if own := uint64(uvarintLen(n)); n > MaxHeader || own+n > total {
		return nil, fmt.Errorf("header of %d bytes in a frame of %d: %w", n, total, ErrMalformed)
	}
	r.size = uvarintLen(total) + uvarintLen(n) + int(n)
	if cap(r.header) < int(n) {
		r.header = make([]byte, max(int(n), 1024))
	}
	h := r.header[:n]
	if _, err := io.ReadFull(r.r, h); err != nil {
		return nil, fmt.Errorf("header: %w", noEOF(err))
	}
	m, err := ParseHeader(h)
	if err != nil {
		return nil, err
	}
	rest := int(total - uint64(uvarintLen(n)) - n)
	if rest > MaxPayload {
		return nil, fmt.Errorf("payload of %d bytes, at most %d: %w", rest, MaxPayload, ErrMalformed)
	}
	f := &Frame{Message: m}
	if rest == 0 {
		return f, nil
	}
	switch m.Kind() {
	case KindStep, KindOutput, KindAttach:
	default:
		return nil, fmt.Errorf("%s with a payload of %d bytes: %w", m.Kind(), rest, ErrMalformed)
	}
	buf, refused := r.reserve(m, rest)
	if refused != nil {
		if _, err := r.r.Discard(rest); err != nil {
			return nil, fmt.Errorf("payload: %w", noEOF(err))
		}
		return nil, &Refused{m, refused}
	}
	if _, err := io.ReadFull(r.r, buf.Data); err != nil {
		buf.Release()
		return nil, fmt.Errorf("payload: %w", noEOF(err))
	}
	f.Payload = buf
	return f, nil
}

// HeaderBytes returns how many bytes the last frame had beside its payload.
func (r *Reader) HeaderBytes() int { return r.size }

// length reads a uvarint of at most four bytes, in its shortest form.
func (r *Reader) length() (uint64, error) {
	v := uint64(0)
	for i := 0; ; i++ {
		c, err := r.r.ReadByte()
		switch {
		case err != nil && i == 0:
			return 0, err
		case err != nil:
			return 0, noEOF(err)
		case i == 3 && c >= 0x80, i > 0 && c == 0:
			return 0, fmt.Errorf("length is not a short uvarint: %w", ErrMalformed)
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, nil
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
