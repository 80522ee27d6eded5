package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// Codes that meet activations which are not quantised are first written out as
// float32, a block at a time; every set uses these steps.
func codedF32() {
	for _, bits := range []int{4, 5, 6, 8} {
		expand(bits)
	}
	for _, d := range codeDTypes {
		switch d.name {
		case "Q4_0":
			d.factorsOf("factors1AVX2", "the scales of a block")
		case "Q4_1":
			d.factorsOf("factors2AVX2", "the scales and minima of a block")
		case "Q4_K":
			d.factorsOf("factorsKAVX2", "the scales and minima of a block of Q4_K or Q5_K")
		case "Q6_K":
			d.factorsOf("factors6AVX2", "the scales of both halves of a block of Q6_K")
		}
	}
	chains("chainsAVX2", "the scales", 1, false)
	chains("chainsMinimaAVX2", "the scales and adds the minima", 1, true)
	chains("chainsHalvesAVX2", "the scales of both halves", 2, false)
}

// routine begins a function with a declaration of its own.
func routine(name, signature, doc string) {
	TEXT(name, attr.NOSPLIT, "func"+signature)
	Pragma("noescape")
	Doc(name + " " + doc)
	fmt.Fprintf(&declared, "\n// %s %s\n//\n//go:noescape\nfunc %s%s\n", name, doc, name, signature)
}

// expand writes a routine that turns codes into numbers.
func expand(bits int) {
	w := lanes.AVX2
	routine(fmt.Sprintf("expand%dAVX2", bits), "(w *[512]float32, codes *byte, offset uint32)",
		fmt.Sprintf("writes a block of codes of %d bits, less the offset, as [k][row].", bits))
	dst, codes := Load(Param("w"), GP64()), Load(Param("codes"), GP64())
	offset := YMM()
	VMOVD(Load(Param("offset"), GP32()), offset.AsX())
	VPBROADCASTD(offset.AsX(), offset)
	last := w.Const(0xff) // byte of a lane
	var nibbles reg.VecVirtual
	if bits < 8 {
		nibbles = w.Const(0x0f0f_0f0f)
	}
	var above [4]reg.VecVirtual // the bits above the fourth of groups q and q+4, in both halves of the panel
	switch bits {
	case 5:
		for h := range 2 {
			above[h] = YMM()
			VMOVDQU(Mem{Base: codes, Disp: 256 + 32*h}, above[h])
		}
	case 6:
		for i := range above {
			above[i] = YMM()
			VMOVDQU(Mem{Base: codes, Disp: 256 + 32*i}, above[i])
		}
	}
	q := GP32()
	MOVL(U32(4), q)
	Label("quarter")
	for h := range 2 {
		low, high := YMM(), YMM()
		VMOVDQU(Mem{Base: codes, Disp: 32 * h}, low)
		if bits == 8 {
			VMOVDQU(Mem{Base: codes, Disp: 256 + 32*h}, high)
		} else {
			VPSRLW(U8(4), low, high)
			VPAND(nibbles, low, low)
			VPAND(nibbles, high, high)
		}
		or := func(source reg.VecVirtual, mask uint32, left uint8, v reg.VecVirtual) {
			b := YMM()
			VPAND(w.Bits(mask), source, b)
			if left > 0 {
				VPSLLW(U8(left), b, b)
			}
			VPOR(b, v, v)
		}
		switch bits {
		case 5:
			or(above[h], 0x0101_0101, 4, low)
			or(above[h], 0x1010_1010, 0, high)
			VPSRLW(U8(1), above[h], above[h])
		case 6:
			for i, v := range []reg.VecVirtual{low, high} {
				or(above[2*i+h], 0x0303_0303, 4, v)
				VPSRLW(U8(2), above[2*i+h], above[2*i+h])
			}
		}
		for i, v := range []reg.VecVirtual{low, high} {
			for j := range 4 {
				c := YMM()
				switch j {
				case 0:
					VPAND(last, v, c)
				case 3:
					VPSRLD(U8(24), v, c)
				default:
					VPSRLD(U8(uint8(8*j)), v, c)
					VPAND(last, c, c)
				}
				VPSUBD(offset, c, c)
				VCVTDQ2PS(c, c)
				VMOVUPS(c, Mem{Base: dst, Disp: 1024*i + 64*j + 32*h})
			}
		}
	}
	ADDQ(U8(64), codes)
	ADDQ(U32(256), dst)
	DECL(q)
	JNZ(LabelRef("quarter"))
	VZEROUPPER()
	RET()
}

// factorsOf writes a routine that reads what a block's codes are multiplied by.
func (d *codeDType) factorsOf(name, what string) {
	routine(name, "(f *[3][16]float32, record, part *byte)",
		"writes "+what+": of each row the scale, that of the second half, the minimum.")
	f := Load(Param("f"), GP64())
	p := &pointers{d: d, scales: Load(Param("record"), GP64()), part: Load(Param("part"), GP64())}
	for part := range d.parts() {
		s, m := p.factors(part, 2)
		for h := range s {
			VMOVUPS(s[h], Mem{Base: f, Disp: 64*part + 32*h})
		}
		for h := range m {
			if d.span > 1 {
				VXORPS(lanes.AVX2.Bits(1<<31), m[h], m[h])
			}
			VMOVUPS(m[h], Mem{Base: f, Disp: 128 + 32*h})
		}
	}
	VZEROUPPER()
	RET()
}

// chains writes a routine that multiplies a block by columns, four at a time,
// then by twos and ones.
func chains(name, what string, parts int, minima bool) {
	routine(name, "(y *[16]float32, w *[512]float32, f *[3][16]float32, x *byte, columns int)",
		"multiplies codes by a block of each column, an f32Block, then by "+what+", and adds to y.")
	y, w, f := Load(Param("y"), GP64()), Load(Param("w"), GP64()), Load(Param("f"), GP64())
	x, left := Load(Param("x"), GP64()), Load(Param("columns"), GP64())
	for _, columns := range []int{4, 2, 1} {
		label := func(s string) string { return fmt.Sprintf("%s%d", s, columns) }
		Label(label("columns"))
		CMPQ(left, I8(int8(columns)))
		JLT(LabelRef(label("fewer")))
		code, k, n := GP64(), GP64(), GP32()
		MOVQ(w, code)
		MOVQ(x, k)
		for part := range parts {
			p := make([][2]reg.VecVirtual, columns)
			for c := range p {
				p[c] = [2]reg.VecVirtual{YMM(), YMM()}
				for _, v := range p[c] {
					VXORPS(v, v, v)
				}
			}
			MOVL(U32(uint32(8/parts)), n)
			again := label(fmt.Sprintf("part%dOf", part))
			Label(again)
			for i := range 4 {
				b := [2]reg.VecVirtual{YMM(), YMM()}
				for h := range b {
					VMOVUPS(Mem{Base: code, Disp: 64*i + 32*h}, b[h])
				}
				for c := range p {
					v := YMM()
					VBROADCASTSS(Mem{Base: k, Disp: xBlock*c + 4*i}, v)
					for h := range b {
						VFMADD231PS(b[h], v, p[c][h])
					}
				}
			}
			ADDQ(U32(256), code)
			ADDQ(U8(16), k)
			DECL(n)
			JNZ(LabelRef(again))
			for h := range 2 {
				s, m := YMM(), YMM()
				VMOVUPS(Mem{Base: f, Disp: 64*part + 32*h}, s)
				if minima {
					VMOVUPS(Mem{Base: f, Disp: 128 + 32*h}, m)
				}
				for c := range p {
					sum := Mem{Base: y, Disp: 64*c + 32*h}
					VFMADD213PS(sum, s, p[c][h])
					if minima {
						v := YMM()
						VBROADCASTSS(Mem{Base: x, Disp: xBlock*c + xSum}, v)
						VFMADD231PS(m, v, p[c][h])
					}
					VMOVUPS(p[c][h], sum)
				}
			}
		}
		ADDQ(U32(uint32(64*columns)), y)
		ADDQ(U32(uint32(xBlock*columns)), x)
		SUBQ(I8(int8(columns)), left)
		JMP(LabelRef(label("columns")))
		Label(label("fewer"))
	}
	VZEROUPPER()
	RET()
}
