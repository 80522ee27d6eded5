package matmul

import "github.com/farlabs/inference/kernels/canon"

// The second step of reading a row, into memory and laid out by lane
// [16][in/16]: v[code]·scale + minimum. Blocks have 32 elements, two of each
// lane; two lanes are written at a time.

// lanePair returns lanes l and l+1 of dst, in pairs of elements.
func lanePair(dst []float32, l, blocks int) (x, y [][2]float32) {
	k := len(dst) / canon.Lanes
	x, y = arrays[[2]float32](dst[l*k:(l+1)*k]), arrays[[2]float32](dst[(l+1)*k:(l+2)*k])
	return x[:blocks], y[:blocks]
}

// lanesMin32 is for groups of 32 elements with minima.
func lanesMin32(dst []float32, code [][32]byte, scale [][2]float32, v *[256]float32) {
	scale = scale[:len(code)]
	for l := 0; l < canon.Lanes; l += 2 {
		x, y := lanePair(dst, l, len(code))
		for i := range code {
			d, m := scale[i][0], scale[i][1]
			c := (*[18]byte)(code[i][l:])
			x[i] = [2]float32{float32(v[c[0]]*d) + m, float32(v[c[16]]*d) + m}
			y[i] = [2]float32{float32(v[c[1]]*d) + m, float32(v[c[17]]*d) + m}
		}
	}
}

// lanes32 is for groups of 32 elements without minima.
func lanes32(dst []float32, code [][32]byte, scale [][2]float32, v *[256]float32) {
	scale = scale[:len(code)]
	for l := 0; l < canon.Lanes; l += 2 {
		x, y := lanePair(dst, l, len(code))
		for i := range code {
			d := scale[i][0]
			c := (*[18]byte)(code[i][l:])
			x[i] = [2]float32{v[c[0]] * d, v[c[16]] * d}
			y[i] = [2]float32{v[c[1]] * d, v[c[17]] * d}
		}
	}
}

// lanes16 is for groups of 16 elements without minima: scale has two for each
// 32 elements of code.
func lanes16(dst []float32, code [][32]byte, scale [][2][2]float32, v *[256]float32) {
	scale = scale[:len(code)]
	for l := 0; l < canon.Lanes; l += 2 {
		x, y := lanePair(dst, l, len(code))
		for i := range code {
			d, e := scale[i][0][0], scale[i][1][0]
			c := (*[18]byte)(code[i][l:])
			x[i] = [2]float32{v[c[0]] * d, v[c[16]] * e}
			y[i] = [2]float32{v[c[1]] * d, v[c[17]] * e}
		}
	}
}
