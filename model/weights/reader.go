package weights

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"strings"
)

// reader reads the header front to back.
type reader struct {
	path string
	r    *bufio.Reader
	off  int64     // bytes read
	size int64     // of the file
	sum  hash.Hash // sees the bytes read while a pair is read, nil otherwise
	item string    // what is being read, for errors
	word [8]byte   // scratch of u32 and u64
}

func (r *reader) fail(format string, args ...any) error {
	return &FormatError{Path: r.path, Item: r.item, Reason: fmt.Sprintf(format, args...)}
}

// length reads a length and checks that as many bytes follow.
func (r *reader) length(limit int64) (int64, error) {
	n, err := r.u64()
	if err != nil {
		return 0, err
	}
	if n > uint64(limit) {
		return 0, r.fail("string of %d bytes, at most %d are read", n, limit)
	}
	return int64(n), r.need(int64(n))
}

// need checks that n more bytes are in the file and within the limit.
func (r *reader) need(n int64) error {
	if n > r.size-r.off {
		return r.fail("truncated: %d bytes wanted at byte %d of a file of %d", n, r.off, r.size)
	}
	if r.off+n > maxHeader {
		return r.fail("header beyond %d bytes", maxHeader)
	}
	return nil
}

func (r *reader) str(limit int64) (string, error) {
	n, err := r.length(limit)
	if err != nil {
		return "", err
	}
	b, err := r.bytes(uint64(n))
	return string(b), err
}

func (r *reader) bytes(n uint64) ([]byte, error) {
	if err := r.need(int64(n)); err != nil { // before the allocation
		return nil, err
	}
	b := make([]byte, n)
	return b, r.read(b)
}

func (r *reader) u32() (uint32, error) {
	err := r.read(r.word[:4])
	return binary.LittleEndian.Uint32(r.word[:]), err
}

func (r *reader) u64() (uint64, error) {
	err := r.read(r.word[:])
	return binary.LittleEndian.Uint64(r.word[:]), err
}

// read fills b; every byte of the header passes here or through copy.
func (r *reader) read(b []byte) error {
	if err := r.need(int64(len(b))); err != nil {
		return err
	}
	if _, err := io.ReadFull(r.r, b); err != nil {
		return r.fail("%v", err)
	}
	r.off += int64(len(b))
	if r.sum != nil {
		r.sum.Write(b)
	}
	return nil
}

// copy appends n bytes, which length has checked, to w.
func (r *reader) copy(w *strings.Builder, n int64) error {
	for n > 0 {
		b, err := r.r.Peek(int(min(n, 4096)))
		if err != nil {
			return r.fail("%v", err)
		}
		w.Write(b)
		if r.sum != nil {
			r.sum.Write(b)
		}
		m, _ := r.r.Discard(len(b))
		r.off += int64(m)
		n -= int64(m)
	}
	return nil
}
