package matmul

// The packers of the superblocks of 256. The formats stand in package quant.

const (
	nibbles = 0x0f0f_0f0f_0f0f_0f0f
	ones    = 0x0101_0101
	pairs   = 0x0303_0303
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
// halves of 32 bytes and the second in the high ones. Their codes lie apart by
// the size of a block.
func nibblesK(codes []byte, apart int, q []byte, row int) {
	q = q[:32]
	for h := range 2 {
		a, b := le.Uint64(q[8*h:]), le.Uint64(q[16+8*h:])
		v := a&nibbles | b&nibbles<<4
		le.PutUint32(word(codes, 2*h, row), uint32(v))
		le.PutUint32(word(codes, 2*h+1, row), uint32(v>>32))
		v = a>>4&nibbles | b&^nibbles
		le.PutUint32(word(codes[apart:], 2*h, row), uint32(v))
		le.PutUint32(word(codes[apart:], 2*h+1, row), uint32(v>>32))
	}
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
			for j := range 8 { // bit j of qh[i] is the fifth bit of element i of block j
				var v uint32
				for g := range 8 {
					v |= le.Uint32(p[16+4*g:]) >> j & ones << g
				}
				le.PutUint32(word(c[320*j:], 4, r), v)
			}
		}
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
				for j := range 4 { // bits 2j and 2j+1 of qh[i] are the high ones of element i
					var lo, hi uint32
					for g := range 4 {
						lo |= le.Uint32(qh[4*g:]) >> (2 * j) & pairs << (2 * g)
						hi |= le.Uint32(qh[16+4*g:]) >> (2 * j) & pairs << (2 * g)
					}
					le.PutUint32(word(half[384*j:], 4, r), lo)
					le.PutUint32(word(half[384*j:], 5, r), hi)
				}
			}
		}
	}
}
