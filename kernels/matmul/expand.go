package matmul

// The second step of reading a row, into memory: dst[i] = v[code[i]]·scale +
// minimum. Unrolled, so that no index is checked.

func expandMin32(dst [][32]float32, code [][32]byte, scale [][2]float32, v *[256]float32) {
	code, scale = code[:len(dst)], scale[:len(dst)]
	for i := range dst {
		y, c := &dst[i], &code[i]
		d, m := scale[i][0], scale[i][1]
		y[0], y[1], y[2], y[3] = float32(v[c[0]]*d)+m, float32(v[c[1]]*d)+m, float32(v[c[2]]*d)+m, float32(v[c[3]]*d)+m
		y[4], y[5], y[6], y[7] = float32(v[c[4]]*d)+m, float32(v[c[5]]*d)+m, float32(v[c[6]]*d)+m, float32(v[c[7]]*d)+m
		y[8], y[9], y[10], y[11] = float32(v[c[8]]*d)+m, float32(v[c[9]]*d)+m, float32(v[c[10]]*d)+m, float32(v[c[11]]*d)+m
		y[12], y[13], y[14], y[15] = float32(v[c[12]]*d)+m, float32(v[c[13]]*d)+m, float32(v[c[14]]*d)+m, float32(v[c[15]]*d)+m
		y[16], y[17], y[18], y[19] = float32(v[c[16]]*d)+m, float32(v[c[17]]*d)+m, float32(v[c[18]]*d)+m, float32(v[c[19]]*d)+m
		y[20], y[21], y[22], y[23] = float32(v[c[20]]*d)+m, float32(v[c[21]]*d)+m, float32(v[c[22]]*d)+m, float32(v[c[23]]*d)+m
		y[24], y[25], y[26], y[27] = float32(v[c[24]]*d)+m, float32(v[c[25]]*d)+m, float32(v[c[26]]*d)+m, float32(v[c[27]]*d)+m
		y[28], y[29], y[30], y[31] = float32(v[c[28]]*d)+m, float32(v[c[29]]*d)+m, float32(v[c[30]]*d)+m, float32(v[c[31]]*d)+m
	}
}

func expand32(dst [][32]float32, code [][32]byte, scale [][2]float32, v *[256]float32) {
	code, scale = code[:len(dst)], scale[:len(dst)]
	for i := range dst {
		y, c := &dst[i], &code[i]
		d := scale[i][0]
		y[0], y[1], y[2], y[3] = v[c[0]]*d, v[c[1]]*d, v[c[2]]*d, v[c[3]]*d
		y[4], y[5], y[6], y[7] = v[c[4]]*d, v[c[5]]*d, v[c[6]]*d, v[c[7]]*d
		y[8], y[9], y[10], y[11] = v[c[8]]*d, v[c[9]]*d, v[c[10]]*d, v[c[11]]*d
		y[12], y[13], y[14], y[15] = v[c[12]]*d, v[c[13]]*d, v[c[14]]*d, v[c[15]]*d
		y[16], y[17], y[18], y[19] = v[c[16]]*d, v[c[17]]*d, v[c[18]]*d, v[c[19]]*d
		y[20], y[21], y[22], y[23] = v[c[20]]*d, v[c[21]]*d, v[c[22]]*d, v[c[23]]*d
		y[24], y[25], y[26], y[27] = v[c[24]]*d, v[c[25]]*d, v[c[26]]*d, v[c[27]]*d
		y[28], y[29], y[30], y[31] = v[c[28]]*d, v[c[29]]*d, v[c[30]]*d, v[c[31]]*d
	}
}

func expand16(dst [][16]float32, code [][16]byte, scale [][2]float32, v *[256]float32) {
	code, scale = code[:len(dst)], scale[:len(dst)]
	for i := range dst {
		y, c := &dst[i], &code[i]
		d := scale[i][0]
		y[0], y[1], y[2], y[3] = v[c[0]]*d, v[c[1]]*d, v[c[2]]*d, v[c[3]]*d
		y[4], y[5], y[6], y[7] = v[c[4]]*d, v[c[5]]*d, v[c[6]]*d, v[c[7]]*d
		y[8], y[9], y[10], y[11] = v[c[8]]*d, v[c[9]]*d, v[c[10]]*d, v[c[11]]*d
		y[12], y[13], y[14], y[15] = v[c[12]]*d, v[c[13]]*d, v[c[14]]*d, v[c[15]]*d
	}
}
