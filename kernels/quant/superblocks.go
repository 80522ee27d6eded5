package quant

// The super-blocks of 256 elements. d and dmin are binary16.
//
//	Q4_K  d  dmin  scales[12]  qs[128]          d·sc·q − dmin·mn
//	Q5_K  d  dmin  scales[12]  qh[32]  qs[128]  the same, q of five bits
//	Q6_K  ql[128]  qh[64]  scales[16] signed  d d·sc·(q−32)
//
// Q4_K, Q5_K: 8 groups of 32 elements with a six-bit scale sc and minimum mn
// each. qs[32j:32j+32] holds group 2j in the low nibbles and 2j+1 in the high
// ones; bit g of qh[i] is the fifth bit of element i of group g.
//
// Q6_K: 16 groups of 16 elements. Each half of 128 elements has 64 bytes of ql
// and 32 of qh: element 32k+i of the half takes its low four bits from
// ql[i+32(k&1)], low nibble for k < 2, and its high two from qh[i]>>2k.

// scales unpacks the eight six-bit scales and minima of a Q4_K or Q5_K block.
func scales(p *[12]byte) (sc, mn [8]float32) {
	for i := range 4 {
		sc[i] = float32(p[i] & 63)
		mn[i] = float32(p[i+4] & 63)
		sc[i+4] = float32(p[i+8]&15 | p[i]>>6<<4)
		mn[i+4] = float32(p[i+8]>>4 | p[i+4]>>6<<4)
	}
	return sc, mn
}

func q4_K(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[256:], raw[144:] {
		d, dmin := half(raw), half(raw[2:])
		sc, mn := scales((*[12]byte)(raw[4:]))
		for j := range 4 {
			q, y := (*[32]byte)(raw[16+32*j:]), (*[64]float32)(dst[64*j:])
			d0, d1 := d*sc[2*j], d*sc[2*j+1]
			m0, m1 := float32(dmin*mn[2*j]), float32(dmin*mn[2*j+1])
			for i, b := range q {
				y[i] = float32(d0*float32(int32(b&15))) - m0
				y[i+32] = float32(d1*float32(int32(b>>4))) - m1
			}
		}
	}
}

func q5_K(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[256:], raw[176:] {
		d, dmin := half(raw), half(raw[2:])
		sc, mn := scales((*[12]byte)(raw[4:]))
		h := (*[32]byte)(raw[16:])
		for j := range 4 {
			q, y := (*[32]byte)(raw[48+32*j:]), (*[64]float32)(dst[64*j:])
			d0, d1 := d*sc[2*j], d*sc[2*j+1]
			m0, m1 := float32(dmin*mn[2*j]), float32(dmin*mn[2*j+1])
			for i, b := range q {
				lo := int32(b&15) | int32(h[i]>>(2*j)&1)<<4
				hi := int32(b>>4) | int32(h[i]>>(2*j+1)&1)<<4
				y[i] = float32(d0*float32(lo)) - m0
				y[i+32] = float32(d1*float32(hi)) - m1
			}
		}
	}
}

func q6_K(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[256:], raw[210:] {
		sc, d := (*[16]byte)(raw[192:]), half(raw[208:])
		for n := range 2 {
			ql, qh := (*[64]byte)(raw[64*n:]), (*[32]byte)(raw[128+32*n:])
			y := (*[128]float32)(dst[128*n:])
			for g := range 8 { // groups of 16
				k := g >> 1
				low, high := (*[16]byte)(ql[32*(k&1)+16*(g&1):]), (*[16]byte)(qh[16*(g&1):])
				out, s := (*[16]float32)(y[16*g:]), float32(d*float32(int8(sc[8*n+g])))
				for i := range 16 {
					q := int32(low[i]>>(4*(k>>1))&15) | int32(high[i]>>(2*k)&3)<<4
					out[i] = s * float32(q-32)
				}
			}
		}
	}
}
