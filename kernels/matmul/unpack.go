package matmul

import "encoding/binary"

// Unpacking of the blocks of 32 elements. The formats stand in package quant.

const (
	nibbles = 0x0f0f_0f0f_0f0f_0f0f
	ones    = 0x0101_0101_0101_0101
)

var le = binary.LittleEndian

// spread[b] has bit i of b in bit 4 of byte i.
var spread = func() *[256]uint64 {
	t := new([256]uint64)
	for b := range t {
		for i := range 8 {
			t[b] |= uint64(b>>i&1) << (8*i + 4)
		}
	}
	return t
}()

// nibbles32 unpacks 16 bytes: low nibbles to codes 0–15, high ones to 16–31.
func nibbles32(c *[32]byte, q []byte) {
	q = q[:16]
	a, b := le.Uint64(q), le.Uint64(q[8:])
	le.PutUint64(c[:], a&nibbles)
	le.PutUint64(c[8:], b&nibbles)
	le.PutUint64(c[16:], a>>4&nibbles)
	le.PutUint64(c[24:], b>>4&nibbles)
}

// fives32 is nibbles32 with the fifth bits of all codes in h.
func fives32(c *[32]byte, h, q []byte) {
	h, q = h[:4], q[:16]
	a, b := le.Uint64(q), le.Uint64(q[8:])
	le.PutUint64(c[:], a&nibbles|spread[h[0]])
	le.PutUint64(c[8:], b&nibbles|spread[h[1]])
	le.PutUint64(c[16:], a>>4&nibbles|spread[h[2]])
	le.PutUint64(c[24:], b>>4&nibbles|spread[h[3]])
}

func unpackQ4_0(c codes, raw []byte) {
	blocks, code := arrays[[18]byte](raw), arrays[[32]byte](c.code)
	for i := range blocks {
		b := &blocks[i]
		c.scale[i][0] = half(b[:])
		nibbles32(&code[i], b[2:])
	}
}

func unpackQ4_1(c codes, raw []byte) {
	blocks, code := arrays[[20]byte](raw), arrays[[32]byte](c.code)
	for i := range blocks {
		b := &blocks[i]
		c.scale[i] = [2]float32{half(b[:]), half(b[2:])}
		nibbles32(&code[i], b[4:])
	}
}

func unpackQ5_0(c codes, raw []byte) {
	blocks, code := arrays[[22]byte](raw), arrays[[32]byte](c.code)
	for i := range blocks {
		b := &blocks[i]
		c.scale[i][0] = half(b[:])
		fives32(&code[i], b[2:], b[6:])
	}
}

func unpackQ5_1(c codes, raw []byte) {
	blocks, code := arrays[[24]byte](raw), arrays[[32]byte](c.code)
	for i := range blocks {
		b := &blocks[i]
		c.scale[i] = [2]float32{half(b[:]), half(b[2:])}
		fives32(&code[i], b[4:], b[8:])
	}
}

func unpackQ8_0(c codes, raw []byte) {
	blocks, code := arrays[[34]byte](raw), arrays[[32]byte](c.code)
	for i := range blocks {
		b := &blocks[i]
		c.scale[i][0] = half(b[:])
		code[i] = [32]byte(b[2:])
	}
}
