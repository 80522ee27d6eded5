package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// xBlock is the bytes of an f32Block, xSum the offset of its sum.
const (
	xBlock = 144
	xSum   = 128
)

// plainDType is a dtype of weights that are no codes.
type plainDType struct {
	name string
	size int // bytes of an element
	// load sets v to a vector of weights.
	load func(w lanes.Width, at Mem, v reg.VecVirtual)
}

var plainDTypes = []plainDType{
	{"F32", 4, func(_ lanes.Width, at Mem, v reg.VecVirtual) { VMOVUPS(at, v) }},
	{"F16", 2, func(_ lanes.Width, at Mem, v reg.VecVirtual) { VCVTPH2PS(at, v) }},
	{"BF16", 2, func(_ lanes.Width, at Mem, v reg.VecVirtual) {
		VPMOVZXWD(at, v)
		VPSLLD(U8(16), v, v)
	}},
}

// plainTiles lists the columns of the tiles of one panel and of two.
var plainTiles = map[lanes.Width][2][]int{
	lanes.AVX2:   {{1, 2, 3, 4, 6}, {1, 2}},
	lanes.AVX512: {{1, 2, 3, 4, 6, 8, 12}, {1, 2, 3, 4}},
}

// f32 writes the kernels of activations that are not quantised.
func f32() {
	for _, w := range []lanes.Width{lanes.AVX2, lanes.AVX512} {
		for _, d := range plainDTypes {
			for i, tiles := range plainTiles[w] {
				for _, columns := range tiles {
					d.tile(w, i+1, columns)
				}
			}
		}
	}
	codedF32()
	spread()
}

// tile writes a kernel. Within a block the products of a column are a chain of
// its own, which is then added to the sums.
func (d plainDType) tile(w lanes.Width, panels, columns int) {
	name := w.Name(fmt.Sprintf("plain%s_%dx%d", d.name, panels, columns))
	t := kernel(name, fmt.Sprintf("%s multiplies panels of %s (%d) by columns (%d).", name, d.name, panels, columns))
	sums := newRows(w, panels, columns, t, 0)

	codes := []reg.Register{GP64()}
	MOVQ(Mem{Base: t, Disp: tileCodes}, codes[0])
	if panels == 2 {
		codes = append(codes, GP64())
		MOVQ(Mem{Base: t, Disp: tileNext}, codes[1])
		ADDQ(codes[0], codes[1])
	}
	x, blocks := GP64(), GP64()
	MOVQ(Mem{Base: t, Disp: tileX}, x)
	MOVQ(Mem{Base: t, Disp: tileBlocks}, blocks)

	unroll := 8
	if columns*panels <= 2 {
		unroll = 16
	}
	row := 16 * d.size // bytes of a panel's weights of one k
	Label("block")
	p := make([][]reg.VecVirtual, columns)
	for c := range p {
		for range sums.vectors() {
			v := w.Reg()
			w.Xor(v, v, v)
			p[c] = append(p[c], v)
		}
	}
	k := GP32()
	MOVL(U32(uint32(32/unroll)), k)
	Label("group")
	for i := range unroll {
		if columns <= 2 && i*row%64 == 0 {
			for _, c := range codes {
				PREFETCHT0(Mem{Base: c, Disp: ahead + i*row})
			}
		}
		weights := make([]reg.VecVirtual, sums.vectors())
		for v := range weights {
			weights[v] = w.Reg()
			per := len(weights) / panels // vectors of a panel
			d.load(w, Mem{Base: codes[v/per], Disp: i*row + v%per*int(w)*d.size}, weights[v])
		}
		for c := range p {
			at := Mem{Base: x, Disp: xBlock*c + 4*i}
			if w == lanes.AVX512 && panels == 1 {
				VFMADD231PS_BCST(at, weights[0], p[c][0])
				continue
			}
			b := w.Reg()
			VBROADCASTSS(at, b)
			for v := range p[c] {
				VFMADD231PS(weights[v], b, p[c][v])
			}
		}
	}
	for _, c := range codes {
		ADDQ(U32(uint32(unroll*row)), c)
	}
	ADDQ(U8(uint8(4*unroll)), x)
	DECL(k)
	JNZ(LabelRef("group"))
	for c := range p {
		for v := range p[c] {
			if w == lanes.AVX512 {
				VADDPS(p[c][v], sums.y[c][v], sums.y[c][v])
				continue
			}
			VADDPS(sums.sum(c, v), p[c][v], p[c][v])
			VMOVUPS(p[c][v], sums.sum(c, v))
		}
	}
	ADDQ(U32(uint32(columns*xBlock-128)), x)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	sums.store()
	VZEROUPPER()
	RET()
}

// ahead is how many bytes kernels of few columns prefetch: they wait for memory.
const ahead = 2048
