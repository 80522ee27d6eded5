package synthetic

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// fill makes a row of blocks: random codes, and scales that give the weights
// the wanted standard deviation. Uniform codes of n values have n/√12.
func (w weight) fill(row []byte, r *rand.ChaCha8) {
	if w.dtype == tensor.F32 { // a norm
		for i := 0; i < len(row); i += 4 {
			binary.LittleEndian.PutUint32(row[i:], math.Float32bits(1))
		}
		return
	}
	_, _ = r.Read(row) // never fails
	size := w.dtype.BlockBytes()
	for b := row; len(b) > 0; b = b[size:] {
		switch w.dtype {
		case tensor.Q8_0:
			w.scale(b, 256)
			for i, c := range b[2:size] {
				if c == 0x80 { // −128, which no quantiser writes
					b[2+i] = 0x81
				}
			}
		case tensor.Q4_0:
			w.scale(b, 16)
		case tensor.Q6_K: // low bits, high bits, 16 scales, the scale of these
			const scales, end = 192, 208
			for i, c := range b[scales:end] {
				b[scales+i] = 16 + c%33
			}
			w.scale(b[end:], 64*32)
		default:
			panic("synthetic: no blocks of " + w.dtype.String())
		}
	}
}

// scale turns the two random bytes at b into the f16 scale of codes of n values,
// half to one and a half times what the deviation asks for.
func (w weight) scale(b []byte, n float64) {
	u := float64(binary.LittleEndian.Uint16(b)) / (1 << 16)
	d := w.std * math.Sqrt(12) / n * (0.5 + u)
	binary.LittleEndian.PutUint16(b, quant.F32ToF16(float32(d)))
}
