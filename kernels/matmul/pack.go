package matmul

import "encoding/binary"

// The packers of the plain dtypes and of blocks of 32. A row's share of a group
// of four elements is a 32-bit word of the panel: word 16·g + row of a block.

var le = binary.LittleEndian

// word returns the four bytes of a row in group g of a block's codes.
func word(codes []byte, g, row int) []byte { return codes[64*g+4*row:] }

func packF32(codes, _, raw []byte, rows, rowBytes int) {
	for r := range rows {
		row := raw[r*rowBytes : (r+1)*rowBytes]
		for k := 0; k < rowBytes/4; k++ {
			le.PutUint32(codes[4*(panelRows*k+r):], le.Uint32(row[4*k:]))
		}
	}
}

func packHalves(codes, _, raw []byte, rows, rowBytes int) {
	for r := range rows {
		row, k := raw[r*rowBytes:(r+1)*rowBytes], 0
		for ; 2*k+8 <= rowBytes; k += 4 {
			v, c := le.Uint64(row[2*k:]), codes[2*(panelRows*k+r):]
			c = c[: 6*panelRows+2 : 6*panelRows+2]
			le.PutUint16(c, uint16(v))
			le.PutUint16(c[2*panelRows:], uint16(v>>16))
			le.PutUint16(c[4*panelRows:], uint16(v>>32))
			le.PutUint16(c[6*panelRows:], uint16(v>>48))
		}
		for ; 2*k < rowBytes; k++ {
			le.PutUint16(codes[2*(panelRows*k+r):], le.Uint16(row[2*k:]))
		}
	}
}

// nibbles4 packs the 16 bytes of a block of 32 nibbles: the file has element i
// in the low half of byte i and element i+16 in the high one, as panels do.
func nibbles4(codes, q []byte, row int) {
	a, b := le.Uint64(q), le.Uint64(q[8:16])
	c := codes[4*row:]
	c = c[:196:196]
	le.PutUint32(c, uint32(a))
	le.PutUint32(c[64:], uint32(a>>32))
	le.PutUint32(c[128:], uint32(b))
	le.PutUint32(c[192:], uint32(b>>32))
}

// fifths packs the fifth bits of a block, bit i of h being that of element i.
func fifths(codes []byte, h uint32, row int) {
	var v uint32
	for j := range 4 { // bit 4g+j goes to bit g of byte j
		b := h >> j & 0x1111_1111
		b = (b | b>>3) & 0x0303_0303
		b = (b | b>>6) & 0x000f_000f
		b = (b | b>>12) & 0xff
		v |= b << (8 * j)
	}
	le.PutUint32(word(codes, 4, row), v)
}

func packQ4_0(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/18; b < n; b++ {
		c, s := codes[256*b:256*(b+1)], scales[32*b:32*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+18*b:][:18]
			le.PutUint16(s[2*r:], le.Uint16(p))
			nibbles4(c, p[2:], r)
		}
	}
}

func packQ4_1(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/20; b < n; b++ {
		c, s := codes[256*b:256*(b+1)], scales[64*b:64*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+20*b:][:20]
			le.PutUint16(s[2*r:], le.Uint16(p))
			le.PutUint16(s[32+2*r:], le.Uint16(p[2:]))
			nibbles4(c, p[4:], r)
		}
	}
}

func packQ5_0(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/22; b < n; b++ {
		c, s := codes[320*b:320*(b+1)], scales[32*b:32*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+22*b:][:22]
			le.PutUint16(s[2*r:], le.Uint16(p))
			fifths(c, le.Uint32(p[2:]), r)
			nibbles4(c, p[6:], r)
		}
	}
}

func packQ5_1(codes, scales, raw []byte, rows, rowBytes int) {
	for b, n := 0, rowBytes/24; b < n; b++ {
		c, s := codes[320*b:320*(b+1)], scales[64*b:64*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+24*b:][:24]
			le.PutUint16(s[2*r:], le.Uint16(p))
			le.PutUint16(s[32+2*r:], le.Uint16(p[2:]))
			fifths(c, le.Uint32(p[4:]), r)
			nibbles4(c, p[8:], r)
		}
	}
}

func packQ8_0(codes, scales, raw []byte, rows, rowBytes int) {
	const flip = 0x8080_8080_8080_8080 // code + 128
	for b, n := 0, rowBytes/34; b < n; b++ {
		c, s := codes[512*b:512*(b+1)], scales[32*b:32*(b+1)]
		for r := range rows {
			p := raw[r*rowBytes+34*b:][:34]
			le.PutUint16(s[2*r:], le.Uint16(p))
			d := c[4*r:]
			d = d[:452:452]
			v := le.Uint64(p[2:]) ^ flip
			le.PutUint32(d, uint32(v))
			le.PutUint32(d[64:], uint32(v>>32))
			v = le.Uint64(p[10:]) ^ flip
			le.PutUint32(d[128:], uint32(v))
			le.PutUint32(d[192:], uint32(v>>32))
			v = le.Uint64(p[18:]) ^ flip
			le.PutUint32(d[256:], uint32(v))
			le.PutUint32(d[320:], uint32(v>>32))
			v = le.Uint64(p[26:]) ^ flip
			le.PutUint32(d[384:], uint32(v))
			le.PutUint32(d[448:], uint32(v>>32))
		}
	}
}
