package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// run is how many groups have products of 8 bits that fit a sum of 16 together:
// 2·127·(2^bits − 1) each.
func (d *codeDType) run() int {
	return map[int]int{4: 8, 5: 4, 6: 2, 8: 1}[d.bits]
}

// parts is how many scales a row has in a block.
func (d *codeDType) parts() int {
	if d.start == start32 {
		return 2
	}
	return 1
}

// record is the bytes of a record of scales.
func (d *codeDType) record() int { return d.header() + d.span*d.own() }

// int8AVX2 writes the kernels of activations of 8 bits for AVX2, which lacks
// VPDPBUSD.
func int8AVX2() {
	for i := range codeDTypes {
		for _, columns := range []int{1, 2, 4} {
			codeDTypes[i].tile(columns)
		}
	}
}

// pointers walk over what a kernel reads.
type pointers struct {
	d            *codeDType
	codes, x     reg.Register
	scales       reg.Register // of the record
	part         reg.Register // of the block, in a record of several
	blocks, left reg.Register // left of the record
}

func (d *codeDType) begin(t reg.Register) *pointers {
	p := &pointers{d: d, codes: GP64(), x: GP64(), scales: GP64(), blocks: GP64()}
	MOVQ(Mem{Base: t, Disp: tileCodes}, p.codes)
	MOVQ(Mem{Base: t, Disp: tileScales}, p.scales)
	MOVQ(Mem{Base: t, Disp: tileX}, p.x)
	MOVQ(Mem{Base: t, Disp: tileBlocks}, p.blocks)
	if d.span > 1 {
		p.part, p.left = GP64(), GP64()
		Label("record")
		LEAQ(Mem{Base: p.scales, Disp: d.header()}, p.part)
		MOVQ(U32(uint32(d.span)), p.left)
	}
	Label("block")
	return p
}

// next goes to the next block while there is one. x is the bytes of a block of
// the tile's activations.
func (p *pointers) next(x int) {
	ADDQ(U32(uint32(p.d.size())), p.codes)
	ADDQ(U32(uint32(x)), p.x)
	if p.d.span > 1 {
		ADDQ(U8(32), p.part)
		DECQ(p.left)
		JNZ(LabelRef("block"))
		ADDQ(U32(uint32(p.d.record())), p.scales)
		SUBQ(U8(uint8(p.d.span)), p.blocks)
		JNZ(LabelRef("record"))
		return
	}
	ADDQ(U32(uint32(p.d.record())), p.scales)
	DECQ(p.blocks)
	JNZ(LabelRef("block"))
}

// group sets v to the codes of four elements of rows 8·half to 8·half+7.
func (p *pointers) group(g, half int, nibbles, v, spare reg.VecVirtual) {
	at := Mem{Base: p.codes, Disp: 64*(g%4) + 32*half}
	if g < 4 {
		VPAND(at, nibbles, v)
	} else {
		VMOVDQU(at, v)
		VPSRLW(U8(4), v, v)
		VPAND(nibbles, v, v)
	}
	var mask uint32
	shift := 0 // to the left, of the bits above the fourth
	at.Disp = 256 + 32*half
	switch p.d.bits {
	case 4:
		return
	case 5:
		mask, shift = 0x1010_1010, 4-g
	case 6:
		mask, shift = 0x3030_3030, 4-2*(g%4)
		at.Disp += 64 * (g / 4)
	}
	VMOVDQU(at, spare)
	switch {
	case shift > 0:
		VPSLLW(U8(uint8(shift)), spare, spare)
	case shift < 0:
		VPSRLW(U8(uint8(-shift)), spare, spare)
	}
	VPAND(lanes.AVX2.Bits(mask), spare, spare)
	VPOR(spare, v, v)
}

// factors returns the scales of a part of the block, and its minima: rows 0–7
// and 8–15. Those of Q4_K and Q5_K are to be taken away.
func (p *pointers) factors(part int) (s, m [2]reg.VecVirtual) {
	halves := func(at int) (v [2]reg.VecVirtual) {
		for h := range v {
			v[h] = YMM()
			VCVTPH2PS(Mem{Base: p.scales, Disp: at + 16*h}, v[h])
		}
		return v
	}
	times := func(at int, v [2]reg.VecVirtual) {
		for h := range v {
			i := YMM()
			from := Mem{Base: p.part, Disp: at + 8*h}
			if p.d.minima {
				VPMOVZXBD(from, i)
			} else {
				VPMOVSXBD(from, i)
			}
			VCVTDQ2PS(i, i)
			VMULPS(i, v[h], v[h])
		}
	}
	s = halves(0)
	if p.d.span > 1 {
		times(16*part, s)
	}
	if p.d.minima {
		m = halves(32)
		if p.d.span > 1 {
			times(16, m)
		}
	}
	return s, m
}

// tile writes a kernel.
func (d *codeDType) tile(columns int) {
	name := fmt.Sprintf("int8%s_1x%dAVX2", d.name, columns)
	t := kernel(name, fmt.Sprintf("%s multiplies a panel of %s by columns (%d) of 8 bits.", name, d.name, columns))
	spare := 0
	if d.run() > 1 && d.run() < 8 {
		spare = 64 * columns
	}
	sums := newRows(lanes.AVX2, 1, columns, t, spare)
	ones := lanes.AVX2.Bits(0x0001_0001)
	var nibbles, ones8 reg.VecVirtual
	if d.bits < 8 {
		nibbles = lanes.AVX2.Const(0x0f0f_0f0f)
	} else {
		ones8 = lanes.AVX2.Const(0x0001_0001)
	}
	p := d.begin(t)
	if columns == 1 {
		for i := 0; i < d.size(); i += 64 {
			PREFETCHT0(Mem{Base: p.codes, Disp: ahead + i})
		}
	}
	offset := d.start != startNone && d.bits < 8
	for part := range d.parts() {
		products := make([][2]reg.VecVirtual, columns)
		for c := range products {
			products[c] = [2]reg.VecVirtual{YMM(), YMM()}
		}
		spilled := func(c, h int) Mem { return sums.spare(64*c + 32*h) }
		groups := []int{0, 4, 1, 5, 2, 6, 3, 7}
		if d.parts() == 2 {
			groups = []int{4 * part, 4*part + 1, 4*part + 2, 4*part + 3}
		}
		for i, g := range groups {
			if d.bits == 8 {
				p.signed(g, products, ones8, i == 0)
				continue
			}
			if i > 0 && i%d.run() == 0 { // the sums are full
				for c := range products {
					for h, v := range products[c] {
						VPMADDWD(ones, v, v)
						VMOVDQU(v, spilled(c, h))
					}
				}
			}
			w, x := [2]reg.VecVirtual{YMM(), YMM()}, YMM()
			for h := range w {
				p.group(g, h, nibbles, w[h], x)
			}
			for c := range products {
				x := YMM()
				VPBROADCASTD(Mem{Base: p.x, Disp: int8Block*c + 4*g}, x)
				for h, v := range products[c] {
					if i%d.run() == 0 {
						VPMADDUBSW(x, w[h], v)
						continue
					}
					product := YMM()
					VPMADDUBSW(x, w[h], product)
					VPADDW(product, v, v)
				}
			}
		}
		s, m := p.factors(part)
		for c := range products {
			factor := YMM()
			at := Mem{Base: p.x, Disp: int8Block * c}
			if offset {
				VPBROADCASTD(at.Offset(int8Starts+4*(d.start+part)), factor)
			}
			for h, v := range products[c] {
				if d.run() > 1 {
					VPMADDWD(ones, v, v)
				}
				if spare > 0 {
					VPADDD(spilled(c, h), v, v)
				}
				if offset {
					VPADDD(factor, v, v)
				}
				VCVTDQ2PS(v, v)
				VMULPS(s[h], v, v)
			}
			VBROADCASTSS(at.Offset(int8D), factor)
			for h, v := range products[c] {
				VFMADD213PS(sums.sum(c, h), factor, v)
			}
			if d.minima {
				VBROADCASTSS(at.Offset(int8U), factor)
			}
			for h, v := range products[c] {
				switch {
				case d.minima && d.span > 1:
					VFNMADD231PS(m[h], factor, v)
				case d.minima:
					VFMADD231PS(m[h], factor, v)
				}
				VMOVUPS(v, sums.sum(c, h))
			}
		}
	}
	p.next(columns * int8Block)
	sums.store()
	VZEROUPPER()
	RET()
}

// signed adds the products of a group of Q8_0 to sums of 32 bits. VPMADDUBSW
// wants one side without a sign: |code|, at most 128, against activations that
// take the code's sign; two such products are below 1<<15.
func (p *pointers) signed(g int, products [][2]reg.VecVirtual, ones reg.VecVirtual, first bool) {
	var w, size [2]reg.VecVirtual
	flip := lanes.AVX2.Const(0x8080_8080)
	for h := range w {
		w[h], size[h] = YMM(), YMM()
		VPXOR(Mem{Base: p.codes, Disp: 64*g + 32*h}, flip, w[h])
		VPABSB(w[h], size[h])
	}
	for c := range products {
		x := YMM()
		VPBROADCASTD(Mem{Base: p.x, Disp: int8Block*c + 4*g}, x)
		for h, v := range products[c] {
			product := YMM()
			VPSIGNB(w[h], x, product)
			VPMADDUBSW(product, size[h], product)
			if first {
				VPMADDWD(ones, product, v)
				continue
			}
			VPMADDWD(ones, product, product)
			VPADDD(product, v, v)
		}
	}
}
