package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// dtype is how keys and values are kept.
type dtype int

const (
	f16 dtype = iota
	f32
	q8
)

func (d dtype) String() string { return [...]string{"F16", "F32", "Q8"}[d] }

// size is the bytes of an element or code.
func (d dtype) size() int { return [...]int{2, 4, 1}[d] }

// What kernels/attention fixes.
const (
	scoreStride = 4 * (256 + 16) // bytes between the scores of two queries
	dimStride   = 4 * (512 + 16) // and between their dimensions
	pageHeader  = 24             // a Page in a slice of them; its first word is the pointer
	pageSize    = 16             // positions of a page
	groupSize   = 32             // dimensions that share a scale
)

// tileRows returns the numbers of queries for which there are functions.
func tileRows(w lanes.Width) []int {
	if w == lanes.AVX512 {
		return []int{1, 2, 3, 4, 6, 8}
	}
	return []int{1, 2, 3, 4, 6}
}

// tileVectors returns how many vectors of keys or values that many queries meet
// at a time: as many sums as registers hold beside factors, vectors and scales,
// and where possible enough to hide the latency of a fused multiply-add.
func tileVectors(w lanes.Width, kv dtype, rows int) int {
	if w == lanes.AVX512 {
		if rows == 8 || rows == 6 && kv == q8 {
			return 2
		}
		return 4
	}
	switch {
	case rows == 1:
		return 8
	case rows == 2, rows == 3 && kv != q8:
		return 4
	}
	return 2
}

// tile is the sums of rows queries by some vectors.
type tile struct {
	w    lanes.Width
	kv   dtype
	sums [][]reg.VecVirtual // [rows][vectors]
}

func newTile(w lanes.Width, kv dtype, rows, vectors int) *tile {
	t := &tile{w: w, kv: kv}
	for range rows {
		var s []reg.VecVirtual
		for range vectors {
			s = append(s, w.Reg())
		}
		t.sums = append(t.sums, s)
	}
	return t
}

// vectors is the number of vectors.
func (t *tile) vectors() int { return len(t.sums[0]) }

// widen loads a vector of keys or values as float32. scale is q8's.
func (t *tile) widen(from Mem, scale reg.VecVirtual) reg.VecVirtual {
	v := t.w.Reg()
	switch t.kv {
	case f16:
		VCVTPH2PS(from, v)
	case f32:
		VMOVUPS(from, v)
	default:
		VPMOVSXBD(from, v)
		VCVTDQ2PS(v, v)
		VMULPS(scale, v, v)
	}
	return v
}

// step adds factor(r)·vector(v) to every sum. Whichever are fewer stay in
// registers.
func (t *tile) step(factor func(r int) Mem, vector func(v int) reg.VecVirtual) {
	rows, vectors := len(t.sums), t.vectors()
	if vectors <= rows {
		var vs []reg.VecVirtual
		for v := range vectors {
			vs = append(vs, vector(v))
		}
		for r := range rows {
			f := t.w.Reg()
			VBROADCASTSS(factor(r), f)
			for v := range vectors {
				VFMADD231PS(vs[v], f, t.sums[r][v])
			}
		}
		return
	}
	var fs []reg.VecVirtual
	for r := range rows {
		f := t.w.Reg()
		VBROADCASTSS(factor(r), f)
		fs = append(fs, f)
	}
	for v := range vectors {
		x := vector(v)
		for r := range rows {
			VFMADD231PS(x, fs[r], t.sums[r][v])
		}
	}
}

// number loads a parameter.
func number(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// spread loads a float32 parameter into every element.
func spread(w lanes.Width, name string) reg.VecVirtual {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := w.Reg()
	VBROADCASTSS(p.Addr, v)
	return v
}

// scores: func(s, q *float32, pages *byte, n, head, dim, scales int, scale float32).
func scores(w lanes.Width, kv dtype, rows int) {
	name := w.Name(fmt.Sprintf("scores%sx%d", kv, rows))
	TEXT(name, attr.NOSPLIT, "func(s, q *float32, pages *byte, n, head, dim, scales, values int, scale float32)")
	Pragma("noescape")
	Doc(name + " is scores for that many queries; n > 0 pages, a slice's elements, dim > 0, scales is where the head's scales begin.")
	perPage := pageSize / int(w)
	t := newTile(w, kv, rows, tileVectors(w, kv, rows))
	pages := t.vectors() / perPage
	s, at, left := number("s"), number("pages"), number("n")

	Label("pages")
	// Pages beyond the last are the last: computed for nothing, into what nobody
	// reads.
	var page []reg.GPVirtual
	cursor := GP64()
	MOVQ(at, cursor)
	for i := range pages {
		if i > 0 {
			next := GP64()
			LEAQ(Mem{Base: cursor, Disp: pageHeader}, next)
			CMPQ(left, U8(i+1))
			CMOVQGE(next, cursor)
		}
		p := GP64()
		MOVQ(Mem{Base: cursor}, p)
		page = append(page, p)
	}
	for _, row := range t.sums {
		for _, sum := range row {
			w.Xor(sum, sum, sum)
		}
	}
	q, key, ahead := number("q"), number("head"), number("values")
	ADDQ(key, ahead)
	fetch := func() {
		for _, p := range page {
			PREFETCHT1(Mem{Base: p, Index: ahead, Scale: 1})
		}
		ADDQ(U8(pageSize*kv.size()), ahead)
	}
	vector := func(v int, scale []reg.VecVirtual) reg.VecVirtual {
		var sc reg.VecVirtual
		if scale != nil {
			sc = scale[v]
		}
		return t.widen(Mem{Base: page[v/perPage], Index: key, Scale: 1, Disp: v % perPage * int(w) * kv.size()}, sc)
	}
	factor := func(r int) Mem { return Mem{Base: q, Disp: r * dimStride} }
	dims := number("dim")
	if kv == q8 {
		scalesAt := number("scales")
		Label("groups")
		count, most := GP64(), GP64()
		MOVQ(dims, count)
		MOVQ(U32(groupSize), most)
		CMPQ(count, most)
		CMOVQGT(most, count)
		SUBQ(count, dims)
		// With AVX2 there are too few registers for the scales of all vectors: they
		// are converted where they are needed.
		load := func(v int) reg.VecVirtual {
			sc := w.Reg()
			VCVTPH2PS(Mem{Base: page[v/perPage], Index: scalesAt, Scale: 1, Disp: v % perPage * int(w) * 2}, sc)
			return sc
		}
		var held []reg.VecVirtual
		if w == lanes.AVX512 {
			for v := range t.vectors() {
				held = append(held, load(v))
			}
		}
		Label("dims")
		fetch()
		t.step(factor, func(v int) reg.VecVirtual {
			if held != nil {
				return vector(v, held)
			}
			sc := make([]reg.VecVirtual, v+1)
			sc[v] = load(v)
			return vector(v, sc)
		})
		ADDQ(U8(4), q)
		ADDQ(U8(pageSize*kv.size()), key)
		DECQ(count)
		JNZ(LabelRef("dims"))
		ADDQ(U8(2*pageSize), scalesAt)
		TESTQ(dims, dims)
		JNZ(LabelRef("groups"))
	} else {
		Label("dims")
		fetch()
		t.step(factor, func(v int) reg.VecVirtual { return vector(v, nil) })
		ADDQ(U8(4), q)
		ADDQ(U8(pageSize*kv.size()), key)
		DECQ(dims)
		JNZ(LabelRef("dims"))
	}
	scale := spread(w, "scale")
	for r, row := range t.sums {
		for v, sum := range row {
			VMULPS(scale, sum, sum)
			VMOVUPS(sum, Mem{Base: s, Disp: r*scoreStride + v*w.Bytes()})
		}
	}
	ADDQ(U32(t.vectors()*w.Bytes()), s)
	ADDQ(U8(pages*pageHeader), at)
	SUBQ(U8(pages), left)
	JGT(LabelRef("pages"))
	VZEROUPPER()
	RET()
}

// mix: func(p, w *float32, pages *byte, head, from, to, pad, scales, groups int).
func mix(w lanes.Width, kv dtype, rows int) {
	name := w.Name(fmt.Sprintf("mix%sx%d", kv, rows))
	TEXT(name, attr.NOSPLIT, "func(p, w *float32, pages *byte, head, from, to, pad, scales, groups, keys, ahead int)")
	Pragma("noescape")
	Doc(name + " is mix for that many queries; from < to, scales is where the head's scales begin, groups how many a position has; keys is where the head's keys begin in pages that will be needed next, ahead how many bytes further in the slice those are.")
	least := 16 / int(w) // vectors in the 16 dimensions that pad is a multiple of
	col := GP64()        // dimensions done
	XORQ(col, col)
	many := tileVectors(w, kv, rows)
	for _, vectors := range []int{many, least} {
		label := fmt.Sprintf("columns%d", vectors)
		Label(label)
		end := GP64()
		LEAQ(Mem{Base: col, Disp: vectors * int(w)}, end)
		pad := number("pad")
		CMPQ(end, pad)
		JGT(LabelRef(label + "_end"))
		columns(newTile(w, kv, rows, vectors), label, col)
		ADDQ(U8(vectors*int(w)), col)
		JMP(LabelRef(label))
		Label(label + "_end")
		if many == least {
			break
		}
	}
	VZEROUPPER()
	RET()
}

// columns mixes the vectors of a tile from dimension col on.
func columns(t *tile, label string, col reg.GPVirtual) {
	w, kv := t.w, t.kv
	sums := func(f func(sum reg.VecVirtual, m Mem)) {
		p := number("p")
		for r, row := range t.sums {
			for v, sum := range row {
				f(sum, Mem{Base: p, Index: col, Scale: 4, Disp: r*dimStride + v*w.Bytes()})
			}
		}
	}
	sums(func(sum reg.VecVirtual, m Mem) { VMOVUPS(m, sum) })

	at, done := number("pages"), number("from")
	slot, weights := GP64(), number("w")
	MOVQ(done, slot)
	SHRQ(U8(4), slot)
	LEAQ(Mem{Base: slot, Index: slot, Scale: 2}, slot) // three words a page
	LEAQ(Mem{Base: at, Index: slot, Scale: 8}, at)
	MOVQ(done, slot)
	ANDQ(U8(pageSize-1), slot)
	LEAQ(Mem{Base: weights, Index: done, Scale: 4}, weights)

	Label(label + "_pages")
	// The rest of this page, or of the range.
	count, left := GP64(), number("to")
	MOVQ(U32(pageSize), count)
	SUBQ(slot, count)
	SUBQ(done, left)
	CMPQ(count, left)
	CMOVQGT(left, count)
	ADDQ(count, done)
	stride := number("pad")
	value, scale := GP64(), GP64()
	MOVQ(Mem{Base: at}, value)
	// Of the keys in the page ahead, as much as this page has values here.
	fetch, ahead := GP64(), number("ahead")
	MOVQ(Mem{Base: at, Index: ahead, Scale: 1}, fetch)
	keys := number("keys")
	ADDQ(keys, fetch)
	MOVQ(col, keys)
	SHLQ(U8([]int{0, 4, 5, 0, 6}[kv.size()]), keys) // 16 positions of them
	ADDQ(keys, fetch)
	per := t.vectors() * int(w) * kv.size() // bytes a position
	if kv == q8 {
		// scale = page + scales + 2·(slot·groups + col/32)
		g := number("groups")
		IMULQ(slot, g)
		MOVQ(col, scale)
		SHRQ(U8(5), scale)
		ADDQ(g, scale)
		LEAQ(Mem{Base: value, Index: scale, Scale: 2}, scale)
		s := number("scales")
		ADDQ(s, scale)
	}
	head, row := number("head"), GP64()
	ADDQ(head, value)
	LEAQ(Mem{Base: value, Index: col, Scale: uint8(kv.size())}, value)
	if kv.size() > 1 {
		SHLQ(U8(kv.size()/2), stride)
	}
	MOVQ(stride, row)
	IMULQ(slot, row)
	ADDQ(row, value)
	XORQ(slot, slot)

	Label(label + "_positions")
	for line := 0; line < per; line += 64 {
		PREFETCHT1(Mem{Base: fetch, Disp: line})
	}
	ADDQ(U32(per), fetch)
	var spreads []reg.VecVirtual
	if kv == q8 {
		for g := 0; g*groupSize < t.vectors()*int(w); g++ {
			s := w.Reg()
			if w == lanes.AVX512 {
				VPBROADCASTW(Mem{Base: scale, Disp: 2 * g}, s.AsY())
				VCVTPH2PS(s.AsY(), s)
			} else {
				VPBROADCASTW(Mem{Base: scale, Disp: 2 * g}, s.AsX())
				VCVTPH2PS(s.AsX(), s)
			}
			spreads = append(spreads, s)
		}
	}
	t.step(
		func(r int) Mem { return Mem{Base: weights, Disp: r * scoreStride} },
		func(v int) reg.VecVirtual {
			var s reg.VecVirtual
			if spreads != nil {
				s = spreads[v*int(w)/groupSize]
			}
			return t.widen(Mem{Base: value, Disp: v * int(w) * kv.size()}, s)
		})
	ADDQ(U8(4), weights)
	ADDQ(stride, value)
	if kv == q8 {
		g := number("groups")
		LEAQ(Mem{Base: scale, Index: g, Scale: 2}, scale)
	}
	DECQ(count)
	JNZ(LabelRef(label + "_positions"))
	ADDQ(U8(pageHeader), at)
	last := number("to")
	CMPQ(done, last)
	JLT(LabelRef(label + "_pages"))
	sums(func(sum reg.VecVirtual, m Mem) { VMOVUPS(sum, m) })
}
