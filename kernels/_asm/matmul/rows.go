package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// rows are the sums of a tile: columns of one panel or two, a column being
// vectors of 16 rows (AVX-512) or 8 (AVX2) in ascending order. With AVX-512 they
// live in registers, with AVX2 in the frame, where they are aligned.
type rows struct {
	w       lanes.Width
	panels  int
	columns int
	t       reg.Register // *tile
	frame   reg.Register // AVX2: [columns][panels·16]float32, then spare bytes
	y       [][]reg.VecVirtual
}

// vectors is how many make a column.
func (r *rows) vectors() int { return r.panels * 16 / int(r.w) }

// size is the bytes of a column.
func (r *rows) size() int { return 64 * r.panels }

// newRows takes memory for the sums, and spare bytes after it, and loads what y
// holds if the tile says so.
func newRows(w lanes.Width, panels, columns int, t reg.Register, spare int) *rows {
	r := &rows{w: w, panels: panels, columns: columns, t: t}
	if w == lanes.AVX512 {
		for range columns {
			var y []reg.VecVirtual
			for range r.vectors() {
				v := ZMM()
				VPXORD(v, v, v)
				y = append(y, v)
			}
			r.y = append(r.y, y)
		}
		// Where nothing is added to, a load of nothing would wait for the memory
		// that is stored to in the end.
		CMPQ(Mem{Base: t, Disp: tileLoad}, I8(0))
		JE(LabelRef("loaded"))
		r.each(tileLoad, "loaded", func(at Mem, mask reg.Register, v reg.VecVirtual) { VMOVUPS_Z(at, mask, v) })
		return r
	}
	local := AllocLocal(columns*r.size() + spare + 32)
	r.frame = GP64()
	LEAQ(local.Offset(31), r.frame)
	ANDQ(I8(-32), r.frame)
	zero := YMM()
	VPXOR(zero, zero, zero)
	for i := range columns * r.vectors() {
		VMOVUPS(zero, Mem{Base: r.frame, Disp: 32 * i})
	}
	CMPQ(Mem{Base: t, Disp: tileLoad}, I8(0))
	JE(LabelRef("loaded"))
	r.copy("load", false)
	Label("loaded")
	return r
}

// sum is vector v of column c, where it lies in the frame.
func (r *rows) sum(c, v int) Mem { return Mem{Base: r.frame, Disp: c*r.size() + 32*v} }

// spare is a place in the spare bytes.
func (r *rows) spare(at int) Mem { return Mem{Base: r.frame, Disp: r.columns*r.size() + at} }

// store writes the sums to y.
func (r *rows) store() {
	if r.w == lanes.AVX512 {
		r.each(tileStore, "stored", func(at Mem, mask reg.Register, v reg.VecVirtual) { VMOVUPS(v, mask, at) })
		return
	}
	r.copy("store", true)
}

// each moves the columns that the tile has between y and registers.
func (r *rows) each(maskAt int, done string, move func(at Mem, mask reg.Register, v reg.VecVirtual)) {
	mask, y, stride, columns := K(), GP64(), GP64(), GP64()
	KMOVW(Mem{Base: r.t, Disp: maskAt}, mask)
	MOVQ(Mem{Base: r.t, Disp: tileY}, y)
	MOVQ(Mem{Base: r.t, Disp: tileStride}, stride)
	MOVQ(Mem{Base: r.t, Disp: tileColumns}, columns)
	for c := range r.columns {
		if c > 0 {
			CMPQ(columns, I8(int8(c)))
			JLE(LabelRef(done))
			ADDQ(stride, y)
		}
		for i, v := range r.y[c] {
			move(Mem{Base: y, Disp: 64 * i}, mask, v)
		}
	}
	Label(done)
}

// copy moves the columns that the tile has between y and the frame. A panel
// with fewer rows is moved element by element.
func (r *rows) copy(name string, out bool) {
	y, f, columns := GP64(), GP64(), GP64()
	MOVQ(Mem{Base: r.t, Disp: tileY}, y)
	MOVQ(r.frame, f)
	MOVQ(Mem{Base: r.t, Disp: tileColumns}, columns)
	n := GP64()
	MOVQ(Mem{Base: r.t, Disp: tileRows}, n)
	from, to := Mem{Base: y}, Mem{Base: f}
	if out {
		from, to = to, from
	}
	Label(name + "Column")
	if r.panels == 1 {
		CMPQ(n, I8(16))
		JNE(LabelRef(name + "Rows"))
	}
	for i := range r.vectors() {
		v := YMM()
		VMOVUPS(from.Offset(32*i), v)
		VMOVUPS(v, to.Offset(32*i))
	}
	Label(name + "Next")
	ADDQ(Mem{Base: r.t, Disp: tileStride}, y)
	ADDQ(U32(uint32(r.size())), f)
	DECQ(columns)
	JNZ(LabelRef(name + "Column"))
	if r.panels == 1 {
		JMP(LabelRef(name + "Done"))
		Label(name + "Rows")
		i, v := GP64(), GP32()
		XORQ(i, i)
		Label(name + "Row")
		MOVL(from.Idx(i, 4), v)
		MOVL(v, to.Idx(i, 4))
		INCQ(i)
		CMPQ(i, n)
		JLT(LabelRef(name + "Row"))
		JMP(LabelRef(name + "Next"))
		Label(name + "Done")
	}
}
