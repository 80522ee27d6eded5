package matmul

// The second step of reading a row, straight into the lane sums of one row x:
// for batches too small for a tile. A few lanes at a time run over the whole
// row, as many as the registers of amd64 hold; how many is a matter of speed
// alone, since each lane still adds its own terms in order.

func dotMin32(s *[16]float32, code [][32]byte, scale [][2]float32, x [][32]float32, v *[256]float32) {
	scale, x = scale[:len(code)], x[:len(code)]
	for h := 0; h < 16; h += 4 {
		var s0, s1, s2, s3 float32
		for i := range code {
			d, m := scale[i][0], scale[i][1]
			p, y := (*[4]byte)(code[i][h:]), (*[4]float32)(x[i][h:])
			q, z := (*[4]byte)(code[i][h+16:]), (*[4]float32)(x[i][h+16:])
			s0 += float32((float32(v[p[0]]*d) + m) * y[0])
			s1 += float32((float32(v[p[1]]*d) + m) * y[1])
			s2 += float32((float32(v[p[2]]*d) + m) * y[2])
			s3 += float32((float32(v[p[3]]*d) + m) * y[3])
			s0 += float32((float32(v[q[0]]*d) + m) * z[0])
			s1 += float32((float32(v[q[1]]*d) + m) * z[1])
			s2 += float32((float32(v[q[2]]*d) + m) * z[2])
			s3 += float32((float32(v[q[3]]*d) + m) * z[3])
		}
		s[h+0], s[h+1], s[h+2], s[h+3] = s0, s1, s2, s3
	}
}

func dot32(s *[16]float32, code [][32]byte, scale [][2]float32, x [][32]float32, v *[256]float32) {
	scale, x = scale[:len(code)], x[:len(code)]
	for h := 0; h < 16; h += 8 {
		var s0, s1, s2, s3, s4, s5, s6, s7 float32
		for i := range code {
			d := scale[i][0]
			p, y := (*[8]byte)(code[i][h:]), (*[8]float32)(x[i][h:])
			q, z := (*[8]byte)(code[i][h+16:]), (*[8]float32)(x[i][h+16:])
			s0 += float32(float32(v[p[0]]*d) * y[0])
			s1 += float32(float32(v[p[1]]*d) * y[1])
			s2 += float32(float32(v[p[2]]*d) * y[2])
			s3 += float32(float32(v[p[3]]*d) * y[3])
			s4 += float32(float32(v[p[4]]*d) * y[4])
			s5 += float32(float32(v[p[5]]*d) * y[5])
			s6 += float32(float32(v[p[6]]*d) * y[6])
			s7 += float32(float32(v[p[7]]*d) * y[7])
			s0 += float32(float32(v[q[0]]*d) * z[0])
			s1 += float32(float32(v[q[1]]*d) * z[1])
			s2 += float32(float32(v[q[2]]*d) * z[2])
			s3 += float32(float32(v[q[3]]*d) * z[3])
			s4 += float32(float32(v[q[4]]*d) * z[4])
			s5 += float32(float32(v[q[5]]*d) * z[5])
			s6 += float32(float32(v[q[6]]*d) * z[6])
			s7 += float32(float32(v[q[7]]*d) * z[7])
		}
		s[h+0], s[h+1], s[h+2], s[h+3], s[h+4], s[h+5], s[h+6], s[h+7] = s0, s1, s2, s3, s4, s5, s6, s7
	}
}

func dot16(s *[16]float32, code [][16]byte, scale [][2]float32, x [][16]float32, v *[256]float32) {
	scale, x = scale[:len(code)], x[:len(code)]
	for h := 0; h < 16; h += 4 {
		var s0, s1, s2, s3 float32
		for i := range code {
			d := scale[i][0]
			p, y := (*[4]byte)(code[i][h:]), (*[4]float32)(x[i][h:])
			s0 += float32(float32(v[p[0]]*d) * y[0])
			s1 += float32(float32(v[p[1]]*d) * y[1])
			s2 += float32(float32(v[p[2]]*d) * y[2])
			s3 += float32(float32(v[p[3]]*d) * y[3])
		}
		s[h+0], s[h+1], s[h+2], s[h+3] = s0, s1, s2, s3
	}
}
