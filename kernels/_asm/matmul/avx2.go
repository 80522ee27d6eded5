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
		for panels, tiles := range [...][]int{{1, 2, 4}, {1}} {
			for _, columns := range tiles {
				codeDTypes[i].tile(panels+1, columns)
			}
		}
	}
	quantizeAVX2()
}

// pointers walk over what a kernel reads.
type pointers struct {
	d            *codeDType
	codes, x     reg.Register
	scales       reg.Register // of the record
	part         reg.Register // of the block, in a record of several
	blocks, left reg.Register // left of the record
	next         reg.Register // bytes to the next panel
}

// of returns a place of vector v of a column, which is one of the panel's or,
// from 2 on, of the next panel's.
func (p *pointers) of(v int, at Mem) Mem {
	if v >= 2 {
		at.Index, at.Scale = p.next, 1
	}
	return at
}

func (d *codeDType) begin(t reg.Register) *pointers {
	p := &pointers{d: d, codes: GP64(), x: GP64(), scales: GP64(), blocks: GP64(), next: GP64()}
	MOVQ(Mem{Base: t, Disp: tileNext}, p.next)
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

// advance goes to the next block while there is one. x is the bytes of a block
// of the tile's activations.
func (p *pointers) advance(x int) {
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

// group sets w to the codes of four elements of the rows of vector v.
func (p *pointers) group(g, v int, nibbles, w, spare reg.VecVirtual) {
	at := p.of(v, Mem{Base: p.codes, Disp: 64*(g%4) + 32*(v%2)})
	if g < 4 {
		VPAND(at, nibbles, w)
	} else {
		VMOVDQU(at, w)
		VPSRLW(U8(4), w, w)
		VPAND(nibbles, w, w)
	}
	var mask uint32
	shift := 0 // to the left, of the bits above the fourth
	at.Disp = 256 + 32*(v%2)
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
	VPOR(spare, w, w)
}

// factors returns the scales of a part of the block, and its minima. Those of
// Q4_K and Q5_K are to be taken away.
func (p *pointers) factors(part, vectors int) (s, m []reg.VecVirtual) {
	halves := func(at int) (f []reg.VecVirtual) {
		for v := range vectors {
			f = append(f, YMM())
			VCVTPH2PS(p.of(v, Mem{Base: p.scales, Disp: at + 16*(v%2)}), f[v])
		}
		return f
	}
	times := func(at int, f []reg.VecVirtual) {
		for v := range f {
			i := YMM()
			from := p.of(v, Mem{Base: p.part, Disp: at + 8*(v%2)})
			if p.d.minima {
				VPMOVZXBD(from, i)
			} else {
				VPMOVSXBD(from, i)
			}
			VCVTDQ2PS(i, i)
			VMULPS(i, f[v], f[v])
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
func (d *codeDType) tile(panels, columns int) {
	name := fmt.Sprintf("int8%s_%dx%dAVX2", d.name, panels, columns)
	t := kernel(name, fmt.Sprintf("%s multiplies panels of %s (%d) by columns of 8 bits (%d).", name, d.name, panels, columns))
	spare := 0
	if d.run() > 1 && d.run() < 8 {
		spare = 64 * panels * columns
	}
	sums := newRows(lanes.AVX2, panels, columns, t, spare)
	vectors := sums.vectors()
	ones := lanes.AVX2.Bits(0x0001_0001)
	var nibbles reg.VecVirtual
	var signs *signs
	if d.bits < 8 {
		nibbles = lanes.AVX2.Const(0x0f0f_0f0f)
	} else {
		signs = newSigns()
	}
	p := d.begin(t)
	if columns == 1 {
		p.prefetch(panels)
	}
	offset := d.start != startNone && d.bits < 8
	for part := range d.parts() {
		products := make([][]reg.VecVirtual, columns)
		for c := range products {
			for range vectors {
				products[c] = append(products[c], YMM())
			}
		}
		spilled := func(c, v int) Mem { return sums.spare(32 * (c*vectors + v)) }
		groups := []int{0, 4, 1, 5, 2, 6, 3, 7}
		if d.parts() == 2 {
			groups = []int{4 * part, 4*part + 1, 4*part + 2, 4*part + 3}
		}
		for i, g := range groups {
			if d.bits == 8 {
				signs.group(p, g, products, i == 0)
				continue
			}
			first := i%d.run() == 0
			if first && i > 0 { // the sums are full
				for c := range products {
					for v, y := range products[c] {
						VPMADDWD(ones, y, y)
						VMOVDQU(y, spilled(c, v))
					}
				}
			}
			for h := 0; h < vectors; h += 2 { // a panel
				w, x := [2]reg.VecVirtual{YMM(), YMM()}, YMM()
				for v := range w {
					p.group(g, h+v, nibbles, w[v], x)
				}
				for c := range products {
					VPBROADCASTD(Mem{Base: p.x, Disp: int8Block*c + 4*g}, x)
					for v, y := range products[c][h : h+2] {
						if first {
							VPMADDUBSW(x, w[v], y)
							continue
						}
						product := YMM()
						VPMADDUBSW(x, w[v], product)
						VPADDW(product, y, y)
					}
				}
			}
		}
		s, m := p.factors(part, vectors)
		for c := range products {
			factor := YMM()
			at := Mem{Base: p.x, Disp: int8Block * c}
			if offset {
				VPBROADCASTD(at.Offset(int8Starts+4*(d.start+part)), factor)
			}
			for v, y := range products[c] {
				if d.run() > 1 {
					VPMADDWD(ones, y, y)
				}
				if spare > 0 {
					VPADDD(spilled(c, v), y, y)
				}
				if offset {
					VPADDD(factor, y, y)
				}
				VCVTDQ2PS(y, y)
				VMULPS(s[v], y, y)
			}
			VBROADCASTSS(at.Offset(int8D), factor)
			for v, y := range products[c] {
				VFMADD213PS(sums.sum(c, v), factor, y)
			}
			if d.minima {
				VBROADCASTSS(at.Offset(int8U), factor)
			}
			for v, y := range products[c] {
				switch {
				case d.minima && d.span > 1:
					VFNMADD231PS(m[v], factor, y)
				case d.minima:
					VFMADD231PS(m[v], factor, y)
				}
				VMOVUPS(y, sums.sum(c, v))
			}
		}
	}
	p.advance(columns * int8Block)
	sums.store()
	VZEROUPPER()
	RET()
}

// prefetch asks for codes of later blocks.
func (p *pointers) prefetch(panels int) {
	for v := 0; v < 2*panels; v += 2 {
		for i := 0; i < p.d.size(); i += 64 {
			PREFETCHT0(p.of(v, Mem{Base: p.codes, Disp: ahead + i}))
		}
	}
}

// signs multiplies codes of Q8_0. VPMADDUBSW wants one side without a sign:
// |code|, at most 128, against activations that take the code's sign; two such
// products are below 1<<15.
type signs struct{ flip, ones reg.VecVirtual }

func newSigns() *signs {
	return &signs{lanes.AVX2.Const(0x8080_8080), lanes.AVX2.Const(0x0001_0001)}
}

// group adds the products of a group to sums of 32 bits.
func (s *signs) group(p *pointers, g int, products [][]reg.VecVirtual, first bool) {
	for h := 0; h < len(products[0]); h += 2 { // a panel
		var w, size [2]reg.VecVirtual
		for v := range w {
			w[v], size[v] = YMM(), YMM()
			VPXOR(p.of(h+v, Mem{Base: p.codes, Disp: 64*g + 32*v}), s.flip, w[v])
			VPABSB(w[v], size[v])
		}
		for c := range products {
			x := YMM()
			VPBROADCASTD(Mem{Base: p.x, Disp: int8Block*c + 4*g}, x)
			for v, y := range products[c][h : h+2] {
				product := YMM()
				VPSIGNB(w[v], x, product)
				VPMADDUBSW(product, size[v], product)
				if first {
					VPMADDWD(s.ones, product, y)
					continue
				}
				VPMADDWD(s.ones, product, product)
				VPADDD(product, y, y)
			}
		}
	}
}
