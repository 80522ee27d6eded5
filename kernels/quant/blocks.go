package quant

import "encoding/binary"

// The blocks of 32 elements. d is the scale, m the minimum, both binary16; the
// low nibbles of qs are elements 0–15, the high ones 16–31; bit i of qh is the
// fifth bit of element i.
//
//	Q4_0  d  qs[16]           d·(q−8)
//	Q4_1  d  m  qs[16]        d·q + m
//	Q5_0  d  qh[4]  qs[16]    d·(q−16)
//	Q5_1  d  m  qh[4] qs[16]  d·q + m
//	Q8_0  d  qs[32] signed    d·q

func q4_0(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[32:], raw[18:] {
		d, q, y := half(raw), (*[16]byte)(raw[2:]), (*[32]float32)(dst)
		for i, b := range q {
			y[i] = float32(int32(b&15)-8) * d
			y[i+16] = float32(int32(b>>4)-8) * d
		}
	}
}

func q4_1(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[32:], raw[20:] {
		d, m, q, y := half(raw), half(raw[2:]), (*[16]byte)(raw[4:]), (*[32]float32)(dst)
		for i, b := range q {
			y[i] = float32(float32(int32(b&15))*d) + m
			y[i+16] = float32(float32(int32(b>>4))*d) + m
		}
	}
}

func q5_0(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[32:], raw[22:] {
		d, h, q, y := half(raw), binary.LittleEndian.Uint32(raw[2:]), (*[16]byte)(raw[6:]), (*[32]float32)(dst)
		for i, b := range q {
			lo := int32(b&15) | int32(h>>i&1)<<4
			hi := int32(b>>4) | int32(h>>(i+16)&1)<<4
			y[i] = float32(lo-16) * d
			y[i+16] = float32(hi-16) * d
		}
	}
}

func q5_1(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[32:], raw[24:] {
		d, m, h := half(raw), half(raw[2:]), binary.LittleEndian.Uint32(raw[4:])
		q, y := (*[16]byte)(raw[8:]), (*[32]float32)(dst)
		for i, b := range q {
			lo := int32(b&15) | int32(h>>i&1)<<4
			hi := int32(b>>4) | int32(h>>(i+16)&1)<<4
			y[i] = float32(float32(lo)*d) + m
			y[i+16] = float32(float32(hi)*d) + m
		}
	}
}

func q8_0(dst []float32, raw []byte) {
	for ; len(dst) > 0; dst, raw = dst[32:], raw[34:] {
		d, q, y := half(raw), (*[32]byte)(raw[2:]), (*[32]float32)(dst)
		for i, b := range q {
			y[i] = float32(int32(int8(b))) * d
		}
	}
}
