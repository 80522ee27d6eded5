package farnet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The table travels over two protocols with the same messages:
//
//	/farlabs/snapshot/1   request → records … end
//	/farlabs/records/1    request → records … end, then news until closed
//
// A message is uvarint(length) type body. The request is the first and only
// message of its direction.
const (
	snapshotProtocol = "/farlabs/snapshot/1"
	recordsProtocol  = "/farlabs/records/1"

	msgRequest = 1
	msgRecord  = 2 // uvarint(milliseconds left to live) envelope
	msgEnd     = 3 // the snapshot is complete
	msgSuspect = 4 // peer id: the sender could not reach it
	msgAlive   = 5 // nothing happened

	maxMessage    = MaxRecordBytes + 16
	maxRequest    = 64 << 10
	maxSnapshot   = 8 << 20 // bytes before msgEnd
	maxDigests    = 32
	maxPushed     = maxRowsPerPeer
	requestFormat = 1
)

// request asks for the records of some models, and may bring the asker's own.
//
//	format flags count digest[32] … count {length envelope} …
type request struct {
	all     bool // every model; digests are ignored
	digests []inference.Digest
	push    [][]byte // envelopes
}

func (q *request) append(b []byte) []byte {
	var flags byte
	if q.all {
		flags = 1
	}
	b = append(b, requestFormat, flags)
	b = binary.AppendUvarint(b, uint64(len(q.digests)))
	for _, d := range q.digests {
		b = append(b, d[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(q.push)))
	for _, p := range q.push {
		b = appendBytes(b, p)
	}
	return b
}

func parseRequest(b []byte) (*request, error) {
	r := reader{b: b}
	head := r.take(2)
	if r.failed || head[0] != requestFormat || head[1] > 1 {
		return nil, fmt.Errorf("request: %w", ErrMalformed)
	}
	q := &request{all: head[1] == 1}
	for range r.limited(maxDigests) {
		var d inference.Digest
		copy(d[:], r.take(len(d)))
		q.digests = append(q.digests, d)
	}
	for range r.limited(maxPushed) {
		q.push = append(q.push, r.bytes(MaxRecordBytes))
	}
	if r.failed || len(r.b) != 0 {
		return nil, fmt.Errorf("request: %w", ErrMalformed)
	}
	return q, nil
}

// message is one answer.
type message struct {
	kind     byte
	left     time.Duration // msgRecord
	envelope []byte        // msgRecord; borrowed from the reader
	suspect  peer.ID       // msgSuspect
}

func (m *message) append(b []byte) []byte {
	b = append(b, m.kind)
	switch m.kind {
	case msgRecord:
		b = binary.AppendUvarint(b, uint64(max(0, m.left.Milliseconds())))
		b = append(b, m.envelope...)
	case msgSuspect:
		b = append(b, m.suspect...)
	}
	return b
}

func parseMessage(b []byte) (message, error) {
	r := reader{b: b}
	kind := r.take(1)
	if r.failed {
		return message{}, fmt.Errorf("message: %w", ErrMalformed)
	}
	m := message{kind: kind[0]}
	switch m.kind {
	case msgRecord:
		m.left = time.Duration(r.limited(uint64(3*maxInterval/time.Millisecond))) * time.Millisecond
		m.envelope = r.b
		if len(m.envelope) > MaxRecordBytes {
			r.fail()
		}
	case msgSuspect:
		id, err := peer.IDFromBytes(r.b)
		if err != nil || len(r.b) > 64 {
			r.fail()
		}
		m.suspect = id
	case msgEnd, msgAlive:
		if len(r.b) != 0 {
			r.fail()
		}
	default:
		r.fail()
	}
	if r.failed {
		return message{}, fmt.Errorf("message of type %d: %w", kind[0], ErrMalformed)
	}
	return m, nil
}

// writeFrame sends uvarint(length) body in one Write.
func writeFrame(w io.Writer, body []byte) error {
	_, err := w.Write(appendBytes(make([]byte, 0, len(body)+4), body))
	return err
}

// readFrame reads one frame of at most `most` bytes into buf, which it grows
// once the length is known to be allowed.
func readFrame(r *bufio.Reader, buf []byte, most int) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(most) {
		return nil, fmt.Errorf("frame of %d bytes, at most %d: %w", n, most, ErrTooLarge)
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, fmt.Errorf("frame: %w", err)
	}
	return buf, nil
}
