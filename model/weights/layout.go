package weights

import (
	"fmt"

	"github.com/farlabs/inference/kernels/tensor"
)

// Layout says how matrices are packed for the kernels. Package matmul knows
// what the bytes mean; this one cuts, keeps and checks them.
type Layout struct {
	Version int // packed bytes of another version are of no use

	// Rows is the number of rows of a panel. Panels follow one another, so that
	// the packed bytes of a matrix are those of its stretches of Rows rows, each
	// packed as a matrix of its own.
	Rows int

	// Bytes returns the size of a packed matrix [out, in].
	Bytes func(dtype tensor.DType, out, in int) (int64, error)

	// Pack packs raw, the bytes of a matrix in the file, into dst, which has
	// Bytes bytes and begins on a cache line. Several goroutines call it at
	// once. The same raw gives the same dst.
	Pack func(dst []byte, dtype tensor.DType, out, in int, raw []byte) error
}

// pieceBytes is about what is packed, written and checked at a time: enough to
// read disks well, little enough to stay in a core's cache.
const pieceBytes = 512 << 10

// piece is some panels of a matrix.
type piece struct {
	tensor int   // its position in the group
	rows   int   // of the matrix
	source int64 // of its bytes in the model file
	raw    int64 // their number
	offset int64 // in the packed file
	bytes  int64
}

// pieces cuts a matrix that begins at offset of the packed file.
func (l *Layout) pieces(list []piece, i int, t Tensor, offset, total int64) ([]piece, error) {
	out, in := t.Shape[0], t.Shape[1]
	panel, err := l.Bytes(t.DType, l.Rows, in)
	if err != nil {
		return nil, err
	}
	step := l.Rows * int(max(1, pieceBytes/max(panel, 1)))
	row, end := int64(t.DType.RowBytes(in)), offset+total
	for at := 0; at < out; at += step {
		p := piece{tensor: i, rows: min(step, out-at), source: t.Offset + int64(at)*row, offset: offset}
		p.raw = int64(p.rows) * row
		if p.bytes, err = l.Bytes(t.DType, p.rows, in); err != nil {
			return nil, err
		}
		list = append(list, p)
		offset += p.bytes
	}
	if offset != end {
		return nil, fmt.Errorf("layout %d: pieces of %s %v do not add up to %d bytes", l.Version, t.DType, t.Shape, total)
	}
	return list, nil
}
