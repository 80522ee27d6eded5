package matmul

// The packers of the superblocks of 256. The formats stand in package quant.

const (
	nibbles = 0x0f0f_0f0f_0f0f_0f0f
	ones    = 0x0101_0101_0101_0101
	pairs   = 0x0303_0303_0303_0303
)

// scalesK packs the scales of a row of a Q4_K or Q5_K superblock: d, dmin and
// eight six-bit scales and minima.
func scalesK(s, p []byte, row int) {
	s, p = s[:320], p[:16]
	le.PutUint16(s[2*row:], le.Uint16(p))
	le.PutUint16(s[32+2*row:], le.Uint16(p[2:]))
	p = p[4:]
	for j := range 4 {
		s[64+32*j+row], s[80+32*j+row] = p[j]&63, p[j+4]&63
		s[192+32*j+row], s[208+32*j+row] = p[j+8]&15|p[j]>>6<<4, p[j+8]>>4|p[j+4]>>6<<4
	}
}

// nibblesK packs two blocks of 32 codes: the file has the first one in the low
// halves of 32 bytes and the second in the high ones. The blocks lie apart by so
// many bytes.
func nibblesK(codes []byte, apart int, q []byte, row int) {
	q = q[:32]
	first, second := codes[4*row:], codes[apart+4*row:]
	first, second = first[:196:196], second[:196:196]
	a, b := le.Uint64(q), le.Uint64(q[16:])
	v, w := a&nibbles|b&nibbles<<4, a>>4&nibbles|b&^nibbles
	le.PutUint32(first, uint32(v))
	le.PutUint32(first[64:], uint32(v>>32))
	le.PutUint32(second, uint32(w))
	le.PutUint32(second[64:], uint32(w>>32))
	a, b = le.Uint64(q[8:]), le.Uint64(q[24:])
	v, w = a&nibbles|b&nibbles<<4, a>>4&nibbles|b&^nibbles
	le.PutUint32(first[128:], uint32(v))
	le.PutUint32(first[192:], uint32(v>>32))
	le.PutUint32(second[128:], uint32(w))
	le.PutUint32(second[192:], uint32(w>>32))
}

func packQ4_K(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/144; b < n; b++ {
		c, s := codes[8*256*b:8*256*(b+1)], scales[320*b:320*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+144*b:][:144]
			scalesK(s, p, r)
			for j := range 4 {
				nibblesK(c[512*j:512*(j+1)], 256, p[16+32*j:], r)
			}
		}
	}
}

func packQ5_K(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/176; b < n; b++ {
		c, s := codes[8*320*b:8*320*(b+1)], scales[320*b:320*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+176*b:][:176]
			scalesK(s, p, r)
			for j := range 4 {
				nibblesK(c[640*j:640*(j+1)], 320, p[48+32*j:], r)
			}
			fifthsK(c, p[16:48], r)
		}
	}
}

// fifthsK packs the fifth bits of a row of a Q5_K superblock: bit j of byte i
// is that of element i of block j. Two groups are taken at a time, an even one
// in the low half of 64 bits and an odd one in the high half.
func fifthsK(codes, h []byte, row int) {
	a, b, c, d := le.Uint64(h), le.Uint64(h[8:]), le.Uint64(h[16:]), le.Uint64(h[24:])
	for j := range 8 {
		v := a&ones | b&ones<<2 | c&ones<<4 | d&ones<<6
		le.PutUint32(codes[320*j+256+4*row:], uint32(v)|uint32(v>>32)<<1)
		a, b, c, d = a>>1, b>>1, c>>1, d>>1
	}
}

func packQ6_K(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/210; b < n; b++ {
		c, s := codes[8*384*b:8*384*(b+1)], scales[288*b:288*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+210*b:][:210]
			le.PutUint16(s[2*r:], le.Uint16(p[208:]))
			for g := range 16 {
				s[32+16*g+r] = p[192+g]
			}
			for h := range 2 { // halves of four blocks
				ql, qh, half := p[64*h:64*(h+1)], p[128+32*h:128+32*(h+1)], c[4*384*h:4*384*(h+1)]
				nibblesK(half, 2*384, ql[:32], r)
				nibblesK(half[384:], 2*384, ql[32:], r)
				highK(half, qh[:16], 256, r)
				highK(half, qh[16:], 320, r)
			}
		}
	}
}

// highK packs the high bits of four groups of each of four Q6_K blocks: bits 2j
// and 2j+1 of byte i are those of element i of block j. It takes two groups at a
// time, as fifthsK does.
func highK(codes, h []byte, at, row int) {
	a, b := le.Uint64(h), le.Uint64(h[8:])
	for j := range 4 {
		v := a&pairs | b&pairs<<4
		le.PutUint32(codes[384*j+at+4*row:], uint32(v)|uint32(v>>32)<<2)
		a, b = a>>2, b>>2
	}
}
