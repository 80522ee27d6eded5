package weights

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/farlabs/inference"
)

// packedFile is what a packed file of a group of matrices has to look like:
//
//	far-packed 1
//	layout 1
//	model 9d8c…
//	group block-003
//	tensor Q4_1 576x576 4096 207360 blk.3.attn_q.weight     offset, bytes
//	…
//	end
//	CRC-32C of every piece of every tensor, in order: uint32, little-endian
//	SHA-256 of everything above
//	zeros up to a multiple of 4096
//	the tensors, each at a multiple of 64
//
// All but the sums follows from the model, the group and the layout, so a
// reader parses nothing: it compares, and what differs in any byte is packed
// again. Pieces are those of [Layout.pieces].
type packedFile struct {
	key     string // everything of the head that does not depend on the model
	head    []byte // the text
	tensors []Tensor
	offsets []int64 // of each tensor
	bytes   []int64
	pieces  []piece
	size    int64
	total   int64 // bytes of the tensors
}

const (
	packedAlign = 4096 // of the first tensor
	packedLine  = 64   // of every tensor: a cache line
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// plan lays out the packed file of a group.
func (c *Checkpoint) plan(l *Layout, model inference.Digest, group string, names []string) (*packedFile, error) {
	f := &packedFile{}
	text := func(offset int64) []byte {
		b := fmt.Appendf(nil, "far-packed 1\nlayout %d\nmodel %s\n", l.Version, model)
		common := len(b)
		b = fmt.Appendf(b, "group %s\n", group)
		for i, t := range f.tensors {
			b = fmt.Appendf(b, "tensor %s %dx%d %d %d %s\n", t.DType, t.Shape[0], t.Shape[1], offset+f.offsets[i], f.bytes[i], t.Name)
		}
		f.key = string(b[common:])
		return append(b, "end\n"...)
	}
	end := int64(0)
	for i, name := range names {
		t, ok := c.Tensor(name)
		if !ok {
			return nil, &FormatError{Path: c.path, Item: "tensor " + quote(name), Reason: "not in this file"}
		}
		if len(t.Shape) != 2 {
			return nil, &FormatError{Path: c.path, Item: "tensor " + quote(name), Reason: fmt.Sprintf("shape %v is no matrix", t.Shape)}
		}
		n, err := l.Bytes(t.DType, t.Shape[0], t.Shape[1])
		if err == nil {
			f.pieces, err = l.pieces(f.pieces, i, t, end, n)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %s: %w", c.path, quote(name), err)
		}
		f.tensors, f.offsets, f.bytes = append(f.tensors, t), append(f.offsets, end), append(f.bytes, n)
		f.total += n
		end = roundUp(end+n, packedLine)
	}
	// Where the tensors begin depends on the length of the text, which holds
	// their offsets: one that is written longer than it turns out does no harm.
	room := len(text(1<<62)) + 4*len(f.pieces) + sha256.Size
	start := roundUp(int64(room), packedAlign)
	for i := range f.offsets {
		f.offsets[i] += start
	}
	for i := range f.pieces {
		f.pieces[i].offset += start
	}
	f.head, f.size = text(0), start
	if n := len(names); n > 0 {
		f.size = f.offsets[n-1] + f.bytes[n-1]
	}
	return f, nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// table returns the bytes in front of the tensors.
func (f *packedFile) table(sums []uint32) []byte {
	b := bytes.Clone(f.head)
	for _, s := range sums {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// data returns each tensor's part of the file in memory.
func (f *packedFile) data(file []byte) [][]byte {
	out := make([][]byte, len(f.tensors))
	for i, at := range f.offsets {
		out[i] = file[at : at+f.bytes[i] : at+f.bytes[i]]
	}
	return out
}

// open brings a packed file into memory if it is the one wanted, whole and
// unchanged: it compares the table and checks every piece against its sum,
// reading the file once. The errors are *FormatError, those of the file system
// and of ctx.
func (f *packedFile) open(ctx context.Context, path string, workers int, m *meter) (region, error) {
	file, err := os.Open(path)
	if err != nil {
		return region{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return region{}, err
	}
	if !info.Mode().IsRegular() || info.Size() != f.size {
		return region{}, &FormatError{Path: path, Reason: fmt.Sprintf("has %d bytes, want a file of %d", info.Size(), f.size)}
	}
	table := make([]byte, len(f.table(make([]uint32, len(f.pieces)))))
	if _, err := file.ReadAt(table, 0); err != nil {
		return region{}, short(path, err)
	}
	sums := make([]uint32, len(f.pieces))
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(table[len(f.head)+4*i:])
	}
	if !bytes.Equal(table, f.table(sums)) {
		return region{}, &FormatError{Path: path, Reason: "its table is not that of these tensors"}
	}
	// Reading, not through a mapping: a disk that cannot read is an error here
	// and would be the end of the process there.
	var copied []byte
	if !canMap {
		copied = alignedBytes(int(f.size))
	}
	err = parallel(ctx, workers, len(f.pieces), func(i int, s *scratch) error {
		p := &f.pieces[i]
		b := s.packed(p.bytes)
		if copied != nil {
			b = copied[p.offset : p.offset+p.bytes]
		}
		if _, err := file.ReadAt(b, p.offset); err != nil {
			return short(path, err)
		}
		if crc32.Checksum(b, castagnoli) != sums[i] {
			return &FormatError{Path: path, Item: "tensor " + quote(f.tensors[p.tensor].Name), Reason: "its bytes are not those that were written"}
		}
		m.add(p.bytes)
		return nil
	})
	switch {
	case err != nil:
		return region{}, err
	case copied != nil:
		return region{bytes: copied, heap: true}, nil
	}
	return mapRange(file, 0, f.size)
}

// short makes an early end of a file a fault of its form.
func short(path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FormatError{Path: path, Reason: "is cut short"}
	}
	return err
}

// write fills file, which is empty, from the checkpoint. Errors of file are
// *keepError.
func (f *packedFile) write(ctx context.Context, c *Checkpoint, l *Layout, file *os.File, workers int, m *meter) error {
	sums := make([]uint32, len(f.pieces))
	err := parallel(ctx, workers, len(f.pieces), func(i int, s *scratch) error {
		p := &f.pieces[i]
		b := s.packed(p.bytes)
		if err := f.pack(c, l, p, b, s); err != nil {
			return err
		}
		sums[i] = crc32.Checksum(b, castagnoli)
		if _, err := file.WriteAt(b, p.offset); err != nil {
			return &keepError{err}
		}
		m.add(p.bytes)
		return nil
	})
	if err == nil {
		err = c.unchanged()
	}
	if err != nil {
		return err
	}
	// Last, so that a file with a table is whole.
	if _, err := file.WriteAt(f.table(sums), 0); err != nil {
		return &keepError{err}
	}
	if err := file.Truncate(f.size); err != nil { // a group whose last tensors are empty
		return &keepError{err}
	}
	if err := file.Sync(); err != nil {
		return &keepError{err}
	}
	return nil
}

// fill packs into memory that is no file.
func (f *packedFile) fill(ctx context.Context, c *Checkpoint, l *Layout, mem []byte, workers int, m *meter) error {
	err := parallel(ctx, workers, len(f.pieces), func(i int, s *scratch) error {
		p := &f.pieces[i]
		if err := f.pack(c, l, p, mem[p.offset:p.offset+p.bytes], s); err != nil {
			return err
		}
		m.add(p.bytes)
		return nil
	})
	if err != nil {
		return err
	}
	return c.unchanged()
}

// pack packs one piece. It reads the model file, rather than map it, so that no
// page of it becomes resident.
func (f *packedFile) pack(c *Checkpoint, l *Layout, p *piece, dst []byte, s *scratch) error {
	t := &f.tensors[p.tensor]
	raw := s.raw(p.raw)
	if _, err := c.file.ReadAt(raw, p.source); err != nil {
		return &FormatError{Path: c.path, Item: "tensor " + quote(t.Name), Reason: err.Error()}
	}
	if err := l.Pack(dst, t.DType, p.rows, t.Shape[1], raw); err != nil {
		return fmt.Errorf("%s: tensor %s: %w", c.path, quote(t.Name), err)
	}
	return nil
}

// keepError is a file of the cache that cannot be written.
type keepError struct{ err error }

func (e *keepError) Error() string { return e.err.Error() }
func (e *keepError) Unwrap() error { return e.err }
