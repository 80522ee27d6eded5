package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

var widths = []lanes.Width{lanes.AVX2, lanes.AVX512}

// stream begins a function of vectors in memory: pointers, then the number of
// elements, a multiple of 16 above 0. body gets the operands at an offset and
// runs n/width times, unroll of them per turn where the number allows.
type stream struct {
	w    lanes.Width
	base []reg.Register
	at   reg.GPVirtual // bytes done
}

func newStream(w lanes.Width, pointers ...string) *stream {
	s := &stream{w: w, at: GP64()}
	for _, p := range pointers {
		s.base = append(s.base, Load(Param(p), GP64()))
	}
	XORQ(s.at, s.at)
	return s
}

// mem is vector i of this turn of pointer p.
func (s *stream) mem(p, i int) Mem {
	return Mem{Base: s.base[p], Index: s.at, Scale: 1, Disp: i * s.w.Bytes()}
}

// each writes the loop: 16 elements a turn.
func (s *stream) each(body func(i int)) {
	n := Load(Param("n"), GP64())
	SHLQ(U8(2), n)
	Label("next")
	for i := range 16 / int(s.w) {
		body(i)
	}
	ADDQ(U8(64), s.at)
	CMPQ(s.at, n)
	JLT(LabelRef("next"))
	VZEROUPPER()
	RET()
}

func elementwise() {
	for _, w := range widths {
		TEXT(w.Name("add"), attr.NOSPLIT, "func(dst, x *float32, n int)")
		Pragma("noescape")
		Doc(w.Name("add") + " adds x to dst; n is a multiple of 16 above 0.")
		s := newStream(w, "dst", "x")
		s.each(func(i int) {
			v := w.Reg()
			VMOVUPS(s.mem(0, i), v)
			VADDPS(s.mem(1, i), v, v)
			VMOVUPS(v, s.mem(0, i))
		})

		TEXT(w.Name("gateSiLU"), attr.NOSPLIT, "func(dst, gate, up *float32, n int)")
		Pragma("noescape")
		Doc(w.Name("gateSiLU") + " writes silu(gate)·up to dst; n is a multiple of 16 above 0.")
		s = newStream(w, "dst", "gate", "up")
		exp := lanes.NewExp(w)
		sign := w.Const(1 << 31)
		s.each(func(i int) {
			x, y := w.Reg(), w.Reg()
			VMOVUPS(s.mem(1, i), x)
			neg := w.Reg()
			w.Xor(sign, x, neg)
			exp.Write(neg, y)
			VADDPS(exp.One(), y, y)
			VDIVPS(y, x, x)
			VMULPS(s.mem(2, i), x, x)
			VMOVUPS(x, s.mem(0, i))
		})

		TEXT(w.Name("roundBF16"), attr.NOSPLIT, "func(x *float32, n int)")
		Pragma("noescape")
		Doc(w.Name("roundBF16") + " rounds x to bfloat16; n is a multiple of 16 above 0.")
		s = newStream(w, "x")
		r := newRounder(w)
		s.each(func(i int) {
			v := w.Reg()
			VMOVUPS(s.mem(0, i), v)
			r.round(v)
			w.And(r.upper, v, v)
			VMOVUPS(v, s.mem(0, i))
		})
	}
	wire()
}

// rounder has the constants of rounding to bfloat16.
type rounder struct {
	w                       lanes.Width
	bias, one, quiet, upper reg.VecVirtual
}

func newRounder(w lanes.Width) *rounder {
	return &rounder{w, w.Const(0x7fff), w.Const(1), w.Const(1 << 22), w.Const(0xffff_0000)}
}

// round leaves the rounded number in the upper half of each element of v.
func (r *rounder) round(v reg.VecVirtual) {
	u := r.w.Reg()
	VPSRLD(U8(16), v, u)
	r.w.And(r.one, u, u)
	VPADDD(r.bias, u, u)
	if r.w == lanes.AVX512 {
		nan := K()
		VCMPPS(U8(3), v, v, nan) // unordered
		VPADDD(v, u, u)
		VPORD(r.quiet, v, nan, u)
		VMOVDQA32(u, v)
		return
	}
	nan, q := r.w.Reg(), r.w.Reg()
	VCMPPS(U8(3), v, v, nan)
	VPADDD(v, u, u)
	VPOR(r.quiet, v, q)
	VBLENDVPS(nan, q, u, v)
}

// wire writes the conversions to and from 16-bit numbers. 8 elements a vector
// are as fast as memory.
func wire() {
	w := lanes.AVX2
	TEXT("putBF16AVX2", attr.NOSPLIT, "func(dst *byte, x *float32, n int)")
	Pragma("noescape")
	Doc("putBF16AVX2 writes x as bfloat16, little-endian; n is a multiple of 16 above 0.")
	s := newStream(w, "x")
	dst := Load(Param("dst"), GP64())
	r := newRounder(w)
	turn(s, func() {
		a, b := w.Reg(), w.Reg()
		VMOVUPS(s.mem(0, 0), a)
		VMOVUPS(s.mem(0, 1), b)
		for _, v := range []reg.VecVirtual{a, b} {
			r.round(v)
			VPSRLD(U8(16), v, v)
		}
		VPACKUSDW(b, a, a) // quarters a0 b0 a1 b1
		VPERMQ(U8(0xd8), a, a)
		VMOVDQU(a, Mem{Base: dst})
		ADDQ(U8(32), dst)
	})

	TEXT("getBF16AVX2", attr.NOSPLIT, "func(x *float32, src *byte, n int)")
	Pragma("noescape")
	Doc("getBF16AVX2 reads what putBF16AVX2 writes; n is a multiple of 16 above 0.")
	s = newStream(w, "x")
	src := Load(Param("src"), GP64())
	turn(s, func() {
		for i := range 2 {
			v := w.Reg()
			VPMOVZXWD(Mem{Base: src, Disp: 16 * i}, v)
			VPSLLD(U8(16), v, v)
			VMOVUPS(v, s.mem(0, i))
		}
		ADDQ(U8(32), src)
	})

	TEXT("putF16AVX2", attr.NOSPLIT, "func(dst *byte, x *float32, n int)")
	Pragma("noescape")
	Doc("putF16AVX2 writes x as IEEE half precision, little-endian; n is a multiple of 16 above 0.")
	s = newStream(w, "x")
	dst = Load(Param("dst"), GP64())
	turn(s, func() {
		for i := range 2 {
			v := w.Reg()
			VMOVUPS(s.mem(0, i), v)
			VCVTPS2PH(U8(0), v, Mem{Base: dst, Disp: 16 * i})
		}
		ADDQ(U8(32), dst)
	})

	TEXT("getF16AVX2", attr.NOSPLIT, "func(x *float32, src *byte, n int)")
	Pragma("noescape")
	Doc("getF16AVX2 reads what putF16AVX2 writes; n is a multiple of 16 above 0.")
	s = newStream(w, "x")
	src = Load(Param("src"), GP64())
	turn(s, func() {
		for i := range 2 {
			v := w.Reg()
			VCVTPH2PS(Mem{Base: src, Disp: 16 * i}, v)
			VMOVUPS(v, s.mem(0, i))
		}
		ADDQ(U8(32), src)
	})
}

// turn is each with a body for all 16 elements of a turn.
func turn(s *stream, body func()) {
	s.each(func(i int) {
		if i == 0 {
			body()
		}
	})
}
