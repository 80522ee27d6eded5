package gguftest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// Random returns a tensor of independent random weights of mean about 0 and
// standard deviation about std. Its last dimension must be a multiple of the
// dtype's block. The same generator state gives the same bytes everywhere.
func Random(r *rand.Rand, name string, dtype tensor.DType, std float64, shape ...int) Tensor {
	elems := 1
	for _, n := range shape {
		elems *= n
	}
	b := make([]byte, 0, dtype.RowBytes(elems))
	for range elems / dtype.BlockElems() {
		b = appendBlock(b, r, dtype, std)
	}
	return Tensor{Name: name, DType: dtype, Shape: shape, Data: b}
}

// appendBlock appends one block: random integers and a scale that gives them
// the standard deviation; uniform integers of n values have n/√12.
func appendBlock(b []byte, r *rand.Rand, dtype tensor.DType, std float64) []byte {
	d := std * (0.5 + r.Float64()) * math.Sqrt(12)
	switch dtype {
	case tensor.F32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(r.NormFloat64()*std)))
	case tensor.F16:
		return appendHalf(b, r.NormFloat64()*std)
	case tensor.BF16:
		return binary.LittleEndian.AppendUint16(b, quant.F32ToBF16(float32(r.NormFloat64()*std)))
	case tensor.Q4_0:
		return appendBits(appendHalf(b, d/16), r, 16)
	case tensor.Q4_1:
		return appendBits(appendHalf(appendHalf(b, d/16), -7.5*d/16), r, 16)
	case tensor.Q5_0:
		return appendBits(appendHalf(b, d/32), r, 20)
	case tensor.Q5_1:
		return appendBits(appendHalf(appendHalf(b, d/32), -15.5*d/32), r, 20)
	case tensor.Q8_0:
		return appendBits(appendHalf(b, d/256), r, 32)
	case tensor.Q4_K: // d·sc·q − dmin·mn with sc = mn and dmin = 7.5 d
		b = appendHalf(appendHalf(b, d/16/32), 7.5*d/16/32)
		return appendBits(appendScales(b, r), r, 128)
	case tensor.Q5_K:
		b = appendHalf(appendHalf(b, d/32/32), 15.5*d/32/32)
		return appendBits(appendScales(b, r), r, 160)
	case tensor.Q6_K:
		b = appendBits(b, r, 128+64)
		for range 16 {
			b = append(b, byte(int8(16+r.IntN(33))))
		}
		return appendHalf(b, d/64/32)
	}
	panic("gguftest: no random " + dtype.String())
}

func appendHalf(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint16(b, quant.F32ToF16(float32(v)))
}

func appendBits(b []byte, r *rand.Rand, n int) []byte {
	for range n {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

// appendScales packs eight random six-bit scales, each also as the minimum.
func appendScales(b []byte, r *rand.Rand) []byte {
	var sc [8]byte
	for i := range sc {
		sc[i] = byte(16 + r.IntN(33))
	}
	var p [12]byte
	for i := range 4 {
		p[i] = sc[i] | sc[i+4]>>4<<6
		p[i+4] = p[i]
		p[i+8] = sc[i+4]&15 | sc[i+4]<<4
	}
	return append(b, p[:]...)
}
