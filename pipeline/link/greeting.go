package link

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/farlabs/inference/pipeline/wire"
)

// greeting begins a stream in each direction; two little-endian uint64.
type greeting struct {
	link  uint64 // the opener's number of the link, not 0
	other uint64 // the number of the link that the sender has joined, or is dialling itself; 0: none
}

func (g greeting) write(s Stream, timeout time.Duration) error {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], g.link)
	binary.LittleEndian.PutUint64(b[8:], g.other)
	if err := s.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := s.Write(b[:])
	return err
}

func readGreeting(s Stream, timeout time.Duration) (greeting, error) {
	var b [16]byte
	if err := s.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return greeting{}, err
	}
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return greeting{}, err
	}
	g := greeting{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
	if g.link == 0 {
		return g, fmt.Errorf("greeting without a number: %w", wire.ErrMalformed)
	}
	return g, s.SetReadDeadline(time.Time{})
}
