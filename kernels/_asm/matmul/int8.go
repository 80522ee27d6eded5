package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// The fields of an int8Block, as kernels/matmul/activations.go has them.
const (
	int8Block  = 64
	int8D      = 32
	int8U      = 36
	int8Starts = 40
)

// The starts of an int8Block.
const (
	start8 = iota
	start16
	start128
	start32
	start32b
	startNone = -1 // 0: the codes have no offset
)

// codeDType is a dtype of weights that are codes.
type codeDType struct {
	name   string
	bits   int // of a code
	start  int
	minima bool
	span   int // blocks that share a record of scales
}

var codeDTypes = []codeDType{
	{"Q4_0", 4, start8, false, 1},
	{"Q4_1", 4, startNone, true, 1},
	{"Q5_0", 5, start16, false, 1},
	{"Q5_1", 5, startNone, true, 1},
	{"Q8_0", 8, start128, false, 1},
	{"Q4_K", 4, startNone, true, 8},
	{"Q5_K", 5, startNone, true, 8},
	{"Q6_K", 6, start32, false, 8},
}

// size is the bytes of a block's codes.
func (d *codeDType) size() int { return 64 * d.bits }

// header is the bytes of a record of scales before those of its blocks.
func (d *codeDType) header() int {
	switch {
	case d.span == 1:
		return 0
	case d.minima:
		return 64
	}
	return 32
}

// own is the bytes of a block's own scales.
func (d *codeDType) own() int {
	if d.span == 1 && d.minima {
		return 64
	}
	return 32
}

// ahead is the blocks between those that are read and those that are
// prefetched: about 6 KiB of all panels, whole spans. Less leaves memory idle,
// more comes too early for a cache of 1 MiB that is full of activations.
func (k *int8Kernel) ahead() int {
	const bytes = 6144
	n := bytes / k.size() / k.panels
	return max(n/k.span, 1) * k.span
}

// int8Widths are the columns of tiles.
var int8Widths = []int{1, 2, 4, 6, 8, 10, 12}

// int8Panels says how many panels at most kernels of so many columns have, beside
// those of one. A kernel of one or two columns waits for memory, which gives
// more to several streams; the others do with one that is fetched ahead.
func int8Panels(columns int) int {
	if columns <= 2 {
		return 4
	}
	return 1
}

// int8AVX512 writes the kernels of 8-bit activations and a table of them.
func int8AVX512() {
	imports = "\nimport \"github.com/farlabs/inference/kernels/tensor\"\n"
	var table strings.Builder
	for i := range codeDTypes {
		names := map[int][]string{}
		for _, columns := range int8Widths {
			for _, panels := range []int{1, 4} {
				name := "nil"
				if k := newInt8(&codeDTypes[i], panels, columns); panels <= int8Panels(columns) {
					k.write()
					name = k.name
				}
				names[panels] = append(names[panels], name)
			}
		}
		fmt.Fprintf(&table, "\ttensor.%s: {\n", codeDTypes[i].name)
		fmt.Fprintf(&table, "\t\tone:  []func(*tile){%s},\n", strings.Join(names[1], ", "))
		fmt.Fprintf(&table, "\t\tfour: []func(*tile){%s},\n", strings.Join(names[4], ", "))
		table.WriteString("\t},\n")
	}
	fmt.Fprintf(&declared, "\nvar int8WidthsAVX512 = []int{%s}\n", strings.Trim(strings.ReplaceAll(fmt.Sprint(int8Widths), " ", ", "), "[]"))
	fmt.Fprintf(&declared, "\nvar int8KernelsAVX512 = [dtypes]kernel{\n%s}\n", table.String())
}

// int8Kernel is a kernel that is being written: a lane is a row.
type int8Kernel struct {
	*codeDType
	name            string
	panels, columns int
	sums            *rows
	t               reg.Register
	// Of the first panel; the others lie next, 2·next and 3·next bytes behind.
	codes, scales         reg.Register
	soonCodes, soonScales reg.Register // what is prefetched
	next, next3           reg.Register
	x                     reg.Register   // middle of the columns, so that their fields are near
	low, bit              reg.VecVirtual // masks: four bits; the bits above them
	d, dmin               []reg.VecVirtual
}

func newInt8(d *codeDType, panels, columns int) *int8Kernel {
	k := &int8Kernel{codeDType: d, panels: panels, columns: columns}
	k.name = lanes.AVX512.Name(fmt.Sprintf("int8%s_%dx%d", d.name, panels, columns))
	return k
}

func (k *int8Kernel) write() {
	t := kernel(k.name, fmt.Sprintf("%s multiplies panels of %s (%d) by columns of 8 bits (%d).", k.name, k.codeDType.name, k.panels, k.columns))
	k.sums = newRows(lanes.AVX512, k.panels, k.columns, t, 0)
	k.t = t
	k.codes, k.scales = load(t, tileCodes), load(t, tileScales)
	if k.panels > 1 {
		k.next, k.next3 = load(t, tileNext), GP64()
		LEAQ(Mem{Base: k.next, Index: k.next, Scale: 2}, k.next3)
	}
	k.soonCodes, k.soonScales = GP64(), GP64()
	LEAQ(Mem{Base: k.codes, Disp: k.ahead() * k.size()}, k.soonCodes)
	LEAQ(Mem{Base: k.scales, Disp: k.ahead() / k.span * k.record()}, k.soonScales)
	blocks := load(t, tileBlocks)
	k.x = load(t, tileX)
	ADDQ(U32(uint32(k.middle())), k.x)
	if k.bits < 8 {
		k.low = lanes.AVX512.Const(0x0f0f0f0f)
	}
	switch k.bits {
	case 5:
		k.bit = lanes.AVX512.Const(0x10101010)
	case 6:
		k.bit = lanes.AVX512.Const(0x30303030)
	}

	if k.span > 1 {
		SHRQ(U8(3), blocks)
		Label("span")
		k.turn(blocks)
		k.shared()
	}
	inner := GP64()
	if k.span > 1 {
		MOVL(U32(uint32(k.span)), inner.As32())
	} else {
		inner = blocks
	}
	Label("block")
	if k.span == 1 {
		k.turn(blocks)
	}
	k.prefetch(k.soonCodes, k.size())
	if k.span == 1 {
		k.prefetch(k.soonScales, k.record())
	}
	for p := range k.panels {
		k.block(p)
	}
	ADDQ(U32(uint32(k.size())), k.codes)
	ADDQ(U8(uint8(k.own())), k.scales)
	ADDQ(U32(uint32(k.columns*int8Block)), k.x)
	DECQ(inner)
	JNZ(LabelRef("block"))
	if k.span > 1 {
		DECQ(blocks)
		JNZ(LabelRef("span"))
	}
	k.sums.store()
	VZEROUPPER()
	RET()
}

// free is the number of registers that a block leaves for chains.
func (k *int8Kernel) free() int {
	n := 32 - k.panels*k.columns - 8 // sums and codes
	n--                              // scales
	if k.minima || k.start == start32 {
		n--
	}
	if k.span > 1 { // what the blocks of the span share
		n -= k.panels
		if k.minima {
			n -= k.panels
		}
	}
	if k.bits < 8 { // masks
		n--
	}
	if k.bits == 5 || k.bits == 6 {
		n--
	}
	return n
}

// middle is what k.x is ahead of the first column.
func (k *int8Kernel) middle() int { return k.columns / 2 * int8Block }

// column is a field of a column of the block.
func (k *int8Kernel) column(c, field int) Mem {
	return Mem{Base: k.x, Disp: c*int8Block + field - k.middle()}
}

// turn makes prefetching go on with what is read after this call, when only the
// blocks are left that have been prefetched.
func (k *int8Kernel) turn(left reg.Register) {
	CMPQ(left, I8(int8(k.ahead()/k.span)))
	JNE(LabelRef("ahead"))
	MOVQ(Mem{Base: k.t, Disp: tileSoonCodes}, k.soonCodes)
	MOVQ(Mem{Base: k.t, Disp: tileSoonScales}, k.soonScales)
	Label("ahead")
}

// prefetch asks for the next bytes of each panel.
func (k *int8Kernel) prefetch(at reg.Register, bytes int) {
	for p := range k.panels {
		for i := 0; i < bytes; i += 64 {
			PREFETCHT1(k.panel(at, p).Offset(i)) // T0 would keep the few line buffers of L1 busy
		}
	}
	ADDQ(I32(int32(bytes)), at)
}

// panel is where the panel p has what the first one has there.
func (k *int8Kernel) panel(at reg.Register, p int) Mem {
	switch p {
	case 0:
		return Mem{Base: at}
	case 3:
		return Mem{Base: at, Index: k.next3, Scale: 1}
	}
	return Mem{Base: at, Index: k.next, Scale: uint8(p)}
}

// load reads a field of the tile.
func load(t reg.Register, field int) reg.GPVirtual {
	v := GP64()
	MOVQ(Mem{Base: t, Disp: field}, v)
	return v
}

// shared reads what the blocks of a span share.
func (k *int8Kernel) shared() {
	sign := lanes.AVX512.Bits(1 << 31)
	if k.d == nil {
		for range k.panels {
			k.d = append(k.d, ZMM())
			if k.minima {
				k.dmin = append(k.dmin, ZMM())
			}
		}
	}
	for p := range k.panels {
		VCVTPH2PS(k.panel(k.scales, p), k.d[p])
		if k.minima {
			VCVTPH2PS(k.panel(k.scales, p).Offset(32), k.dmin[p])
			VPXORD(sign, k.dmin[p], k.dmin[p]) // it is subtracted
		}
	}
	ADDQ(U8(uint8(k.header())), k.scales)
	k.prefetch(k.soonScales, k.record())
}

// factors reads the scales of a block: one or, Q6_K, two, and minima.
func (k *int8Kernel) factors(p int) (s []reg.VecVirtual, m reg.VecVirtual) {
	at := k.panel(k.scales, p)
	read := func(at Mem, d reg.VecVirtual, signed bool) reg.VecVirtual {
		v := ZMM()
		if d == nil {
			VCVTPH2PS(at, v)
			return v
		}
		if signed {
			VPMOVSXBD(at, v)
		} else {
			VPMOVZXBD(at, v)
		}
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		return v
	}
	switch {
	case k.span == 1:
		s = append(s, read(at, nil, false))
		if k.minima {
			m = read(at.Offset(32), nil, false)
		}
	case k.minima:
		s = append(s, read(at, k.d[p], false))
		m = read(at.Offset(16), k.dmin[p], false)
	default:
		s = append(s, read(at, k.d[p], true), read(at.Offset(16), k.d[p], true))
	}
	return s, m
}

// groups reads the codes of a block: register g has elements 4g … 4g+3 of each row.
func (k *int8Kernel) groups(p int) (w [8]reg.VecVirtual) {
	at := k.panel(k.codes, p)
	for g := range w {
		w[g] = ZMM()
	}
	if k.bits == 8 {
		for g := range w {
			VMOVDQU64(at.Offset(64*g), w[g])
		}
		return w
	}
	for g := range 4 {
		VMOVDQU64(at.Offset(64*g), w[g])
	}
	for g := range 4 {
		VPSRLD(U8(4), w[g], w[4+g])
		VPANDD(k.low, w[g], w[g])
		VPANDD(k.low, w[4+g], w[4+g])
	}
	// w |= high shifted & bit
	const orAnd = 0xf8 // a | b & c
	high := func(at Mem, g, shift int) {
		v := ZMM()
		switch {
		case shift > 0:
			h := ZMM()
			VMOVDQU64(at, h)
			VPSLLD(U8(uint8(shift)), h, v)
		case shift < 0:
			h := ZMM()
			VMOVDQU64(at, h)
			VPSRLD(U8(uint8(-shift)), h, v)
		default:
			VMOVDQU64(at, v)
		}
		VPTERNLOGD(U8(orAnd), k.bit, v, w[g])
	}
	for g := range w {
		switch k.bits {
		case 5:
			high(at.Offset(256), g, 4-g)
		case 6:
			high(at.Offset(256+64*(g/4)), g, 4-2*(g%4))
		}
	}
	return w
}

// block adds the products of a block of panel p to the sums.
func (k *int8Kernel) block(p int) {
	w := k.groups(p)
	s, m := k.factors(p)
	most := min(k.free()-1, 6) // chains at a time
	n := (k.columns + most - 1) / most
	for i := range n {
		k.chains(p, i*k.columns/n, (i+1)*k.columns/n, w, s, m)
	}
}

// chains computes columns [lo, hi).
func (k *int8Kernel) chains(p, lo, hi int, w [8]reg.VecVirtual, s []reg.VecVirtual, m reg.VecVirtual) {
	for h := range s { // all of the block, or its halves
		groups := w[h*8/len(s) : (h+1)*8/len(s)]
		t := make([]reg.VecVirtual, hi-lo)
		for i := range t {
			t[i] = ZMM()
			if k.start == startNone {
				zero(t[i])
			} else {
				VPBROADCASTD(k.column(lo+i, int8Starts+4*(k.start+h)), t[i])
			}
		}
		for g, v := range groups {
			for i := range t {
				VPDPBUSD_BCST(k.column(lo+i, 4*(h*len(groups)+g)), v, t[i])
			}
		}
		for i := range t {
			VCVTDQ2PS(t[i], t[i])
			VMULPS(s[h], t[i], t[i])
			VFMADD231PS_BCST(k.column(lo+i, int8D), t[i], k.sums.y[lo+i][p])
		}
	}
	if k.minima {
		for c := lo; c < hi; c++ {
			VFMADD231PS_BCST(k.column(c, int8U), m, k.sums.y[c][p])
		}
	}
}

// zero sets v to 0. avo believes that VPXORD reads what is there.
func zero(v reg.VecVirtual) {
	Instruction(&ir.Instruction{
		Opcode: "VPXORD", Operands: []Op{v, v, v}, Inputs: []Op{v, v}, Outputs: []Op{v},
		CancellingInputs: true, ISA: []string{"AVX512F", "AVX512VL"},
	})
}
