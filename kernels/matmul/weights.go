package matmul

import (
	"fmt"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// Weights is a matrix [out, in] in the form that Linear wants it in.
type Weights struct {
	dtype    tensor.DType
	out, in  int
	rowBytes int
	raw      []byte  // out rows of rowBytes, borrowed
	format   *format // nil for plain dtypes
}

// Pack makes weights of a row-major matrix [out, in] of dtype, as it lies in a
// file. The generic form is the file's own: Pack copies nothing and borrows raw
// for the life of the Weights. It returns an error when the dtype is not one
// of weights or raw does not have the size of the shape.
func Pack(dtype tensor.DType, out, in int, raw []byte) (*Weights, error) {
	if !quant.Supported(dtype) {
		return nil, fmt.Errorf("matmul: weights of %s are not implemented", dtype)
	}
	if out < 0 || in < 0 || in > 1<<30 || out > 1<<30 {
		return nil, fmt.Errorf("matmul: weights of shape [%d,%d]", out, in)
	}
	if n := dtype.BlockElems(); in%n != 0 {
		return nil, fmt.Errorf("matmul: rows of %d elements are no whole number of %s blocks of %d", in, dtype, n)
	}
	w := &Weights{dtype: dtype, out: out, in: in, rowBytes: dtype.RowBytes(in), raw: raw, format: formats[dtype]}
	if int64(len(raw)) != int64(out)*int64(w.rowBytes) {
		return nil, fmt.Errorf("matmul: %s weights of shape [%d,%d] take %d bytes, not %d", dtype, out, in, int64(out)*int64(w.rowBytes), len(raw))
	}
	return w, nil
}

// Out returns the rows, the length of Linear's results.
func (w *Weights) Out() int { return w.out }

// In returns the columns, the length of Linear's inputs.
func (w *Weights) In() int { return w.in }

// DType returns the dtype that Pack got.
func (w *Weights) DType() tensor.DType { return w.dtype }

// Bytes returns the memory of the packed weights, borrowed or not.
func (w *Weights) Bytes() int64 { return int64(len(w.raw)) }

// Row writes row i, dequantised, to dst, which has In elements.
func (w *Weights) Row(dst []float32, i int) {
	if err := quant.Dequantize(dst, w.dtype, w.raw[i*w.rowBytes:(i+1)*w.rowBytes]); err != nil {
		panic(err) // dst has the wrong length: Pack has checked the rest
	}
}
