package matmul

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// LayoutVersion numbers the layout of packed weights: memory packed under
// another version is of no use.
const LayoutVersion = 1

// Weights is a packed matrix [out, in].
type Weights struct {
	dtype         tensor.DType
	out, in       int
	format        *format
	blocks        int    // of a row
	codes, scales int    // bytes of a panel's two regions
	packed        []byte // [panels] of codes and scales, borrowed
}

// shape returns the weights of a shape, without memory, and the size of that
// memory.
func shape(dtype tensor.DType, out, in int) (*Weights, int64, error) {
	f := formatOf(dtype)
	if f == nil {
		return nil, 0, fmt.Errorf("matmul: weights of %s are not implemented", dtype)
	}
	if out < 0 || in < 0 || out > 1<<30 || in > 1<<30 {
		return nil, 0, fmt.Errorf("matmul: weights of shape [%d,%d]", out, in)
	}
	if n := dtype.BlockElems(); in%n != 0 {
		return nil, 0, fmt.Errorf("matmul: rows of %d elements are no whole number of %s blocks of %d", in, dtype, n)
	}
	w := &Weights{dtype: dtype, out: out, in: in, format: f, blocks: f.blocks(in)}
	w.codes, w.scales = f.regions(in)
	n := int64(w.panels()) * int64(w.panel())
	if n > math.MaxInt/2 {
		return nil, 0, fmt.Errorf("matmul: %s weights of shape [%d,%d] are too large", dtype, out, in)
	}
	return w, n, nil
}

// PackedBytes returns the size of a packed matrix [out, in] of dtype, or an
// error when the dtype is not one of weights or rows of in elements are no
// whole number of its blocks.
func PackedBytes(dtype tensor.DType, out, in int) (int64, error) {
	_, n, err := shape(dtype, out, in)
	return n, err
}

// PackTo packs raw, a row-major matrix [out, in] of dtype as it lies in a file,
// into dst, which has PackedBytes bytes that start at a multiple of 64. Every
// byte of dst is written, and the same matrix gives the same bytes. It returns
// an error when a size does not fit the shape. It borrows both slices.
func PackTo(q *device.Queue, dst []byte, dtype tensor.DType, out, in int, raw []byte) error {
	w, err := packed(dtype, out, in, dst)
	if err != nil {
		return err
	}
	rowBytes := dtype.RowBytes(in)
	if int64(len(raw)) != int64(out)*int64(rowBytes) {
		return fmt.Errorf("matmul: %s weights of shape [%d,%d] take %d bytes, not %d", dtype, out, in, int64(out)*int64(rowBytes), len(raw))
	}
	const grain = 1 << 17 // bytes worth handing to another worker
	q.Parallel(w.panels(), 1+grain/max(w.panel(), 1), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			rows := min(panelRows, out-p*panelRows)
			codes, scales := w.regions(p)
			if rows < panelRows {
				clear(codes)
				clear(scales)
			} else { // what the packer leaves alone
				clear(codes[in*w.format.codes/blockLen:])
				clear(scales[w.blocks/w.format.span*w.format.scales:])
			}
			w.format.pack(codes, scales, raw[p*panelRows*rowBytes:][:rows*rowBytes], rows, rowBytes)
		}
	})
	return nil
}

// Packed returns the weights in packed, which PackTo has written for the same
// shape and LayoutVersion, on a machine of either byte order. It borrows packed
// for the life of the Weights. Sizes and alignment are checked; any contents
// are some matrix.
func Packed(dtype tensor.DType, out, in int, p []byte) (*Weights, error) {
	return packed(dtype, out, in, p)
}

func packed(dtype tensor.DType, out, in int, p []byte) (*Weights, error) {
	w, n, err := shape(dtype, out, in)
	switch {
	case err != nil:
		return nil, err
	case int64(len(p)) != n:
		return nil, fmt.Errorf("matmul: packed %s weights of shape [%d,%d] take %d bytes, not %d", dtype, out, in, n, len(p))
	case uintptr(unsafe.Pointer(unsafe.SliceData(p)))%64 != 0 && n > 0:
		return nil, errors.New("matmul: packed weights do not start at a multiple of 64 bytes")
	}
	w.packed = p
	return w, nil
}

// Pack is PackTo into new memory, which the Weights own.
func Pack(q *device.Queue, dtype tensor.DType, out, in int, raw []byte) (*Weights, error) {
	n, err := PackedBytes(dtype, out, in)
	if err != nil {
		return nil, err
	}
	if want := int64(out) * int64(dtype.RowBytes(in)); int64(len(raw)) != want { // before taking memory for what is not there
		return nil, fmt.Errorf("matmul: %s weights of shape [%d,%d] take %d bytes, not %d", dtype, out, in, want, len(raw))
	}
	p := aligned(int(n))
	if err := PackTo(q, p, dtype, out, in, raw); err != nil {
		return nil, err
	}
	return packed(dtype, out, in, p)
}

// aligned returns n bytes that start at a multiple of 64.
func aligned(n int) []byte {
	mem := make([]byte, n+63)
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) & 63)
	return mem[at : at+n : at+n]
}

// Out returns the rows, the length of Linear's results.
func (w *Weights) Out() int { return w.out }

// In returns the columns, the length of Linear's inputs.
func (w *Weights) In() int { return w.in }

// DType returns the dtype that the matrix has in a file.
func (w *Weights) DType() tensor.DType { return w.dtype }

// Bytes returns the size of the packed matrix.
func (w *Weights) Bytes() int64 { return int64(len(w.packed)) }

// panels returns the number of panels; the last may have fewer rows.
func (w *Weights) panels() int { return (w.out + panelRows - 1) / panelRows }

// panel returns the bytes of a panel.
func (w *Weights) panel() int { return w.codes + w.scales }

// regions returns the codes and scales of panel p.
func (w *Weights) regions(p int) (codes, scales []byte) {
	b := w.packed[p*w.panel() : (p+1)*w.panel()]
	return b[:w.codes:w.codes], b[w.codes:]
}

// Row writes row i to dst, which has In elements, dequantised as by
// quant.Dequantize.
func (w *Weights) Row(dst []float32, i int) {
	if len(dst) != w.in || uint(i) >= uint(w.out) {
		panic(fmt.Sprintf("matmul: row %d of %d, %d elements of %d", i, w.out, len(dst), w.in))
	}
	codes, scales := w.regions(i / panelRows)
	f, r := w.format, i%panelRows
	for b := range w.blocks {
		x := dst[b*blockLen : min((b+1)*blockLen, w.in)]
		if f.plain() {
			var p [blockLen][panelRows]float32
			f.weights(&p, codes[b*f.codes:])
			for k := range x {
				x[k] = p[k][r]
			}
			continue
		}
		var c [blockLen]byte
		f.unpack(&c, codes[b*f.codes:], r)
		s, m := f.factors(scales[b/f.span*f.scales:], b%f.span, r)
		for k, v := range c {
			x[k] = float32(int32(v)-f.offset) * s[k/16]
			if f.minima {
				x[k] += m
			}
		}
	}
}
