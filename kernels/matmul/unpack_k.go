package matmul

// Unpacking of the super-blocks of 256 elements. The formats stand in package
// quant.

// groupScales writes the scales and minima of the eight groups of a Q4_K or
// Q5_K block: d·sc and −dmin·mn, of six-bit sc and mn. The minimum is negated
// because it is subtracted: x − m is x + (−m).
func groupScales(s *[8][2]float32, b *[16]byte) {
	d, dmin := half(b[:]), half(b[2:])
	p := (*[12]byte)(b[4:])
	for i := range 4 {
		s[i] = [2]float32{d * float32(p[i]&63), -(dmin * float32(p[i+4]&63))}
		s[i+4] = [2]float32{d * float32(p[i+8]&15|p[i]>>6<<4), -(dmin * float32(p[i+8]>>4|p[i+4]>>6<<4))}
	}
}

func unpackQ4_K(c codes, raw []byte) {
	blocks, code, scale := arrays[[144]byte](raw), arrays[[256]byte](c.code), arrays[[8][2]float32](c.scale)
	for i := range blocks {
		b, y := &blocks[i], &code[i]
		groupScales(&scale[i], (*[16]byte)(b[:]))
		for j := 0; j < 128; j += 8 { // 8 bytes of a pair of groups, 32 apart
			u, at := le.Uint64(b[16+j:]), j&^31*2+j&31
			le.PutUint64(y[at:], u&nibbles)
			le.PutUint64(y[at+32:], u>>4&nibbles)
		}
	}
}

func unpackQ5_K(c codes, raw []byte) {
	blocks, code, scale := arrays[[176]byte](raw), arrays[[256]byte](c.code), arrays[[8][2]float32](c.scale)
	for i := range blocks {
		b, y := &blocks[i], &code[i]
		groupScales(&scale[i], (*[16]byte)(b[:]))
		for k := 0; k < 32; k += 8 {
			h := le.Uint64(b[16+k:]) // bit g of byte i: the fifth bit of element i of group g
			for j := range 4 {
				u := le.Uint64(b[48+32*j+k:])
				le.PutUint64(y[64*j+k:], u&nibbles|h>>(2*j)&ones<<4)
				le.PutUint64(y[64*j+32+k:], u>>4&nibbles|h>>(2*j+1)&ones<<4)
			}
		}
	}
}

func unpackQ6_K(c codes, raw []byte) {
	const pairs = 3 * ones
	blocks, code, scale := arrays[[210]byte](raw), arrays[[256]byte](c.code), arrays[[16][2]float32](c.scale)
	for i := range blocks {
		b, y := &blocks[i], &code[i]
		d := half(b[208:])
		for g := range 16 {
			scale[i][g][0] = d * float32(int8(b[192+g]))
		}
		for n := range 2 { // halves of 128 elements
			for k := 0; k < 32; k += 8 {
				h := le.Uint64(b[128+32*n+k:])
				u, v := le.Uint64(b[64*n+k:]), le.Uint64(b[64*n+32+k:])
				at := 128*n + k
				le.PutUint64(y[at:], u&nibbles|h&pairs<<4)
				le.PutUint64(y[at+32:], v&nibbles|h>>2&pairs<<4)
				le.PutUint64(y[at+64:], u>>4&nibbles|h>>4&pairs<<4)
				le.PutUint64(y[at+96:], v>>4&nibbles|h>>6&pairs<<4)
			}
		}
	}
}
