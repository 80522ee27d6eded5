package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// begin begins a function over n elements, a multiple of 16 above 0.
func begin(w lanes.Width, name, signature, does string) {
	TEXT(w.Name(name), attr.NOSPLIT, "func("+signature+")")
	Pragma("noescape")
	Doc(w.Name(name) + " " + does + "; n is a multiple of 16 above 0.")
}

// each runs body for every 16 elements; i counts the vectors in them. at is the
// bytes done: 4 an element.
func each(w lanes.Width, label string, body func(at reg.GPVirtual, i int)) {
	at, n := GP64(), number("n")
	XORQ(at, at)
	SHLQ(U8(2), n)
	Label(label)
	for i := range 16 / int(w) {
		body(at, i)
	}
	ADDQ(U8(64), at)
	CMPQ(at, n)
	JLT(LabelRef(label))
}

func elem(w lanes.Width, base, at reg.GPVirtual, i int) Mem {
	return Mem{Base: base, Index: at, Scale: 1, Disp: i * w.Bytes()}
}

func end() {
	VZEROUPPER()
	RET()
}

// fold joins the lanes of a vector of 16 in v (AVX-512), or of 8 and 8 in v
// (AVX2), pairwise over distances 8, 4, 2 and 1: canon.Tree. The result is in
// the first element.
func fold(w lanes.Width, v []reg.VecVirtual, join func(a, b, dst Op)) reg.Register {
	var y reg.VecVirtual
	if w == lanes.AVX512 {
		y = YMM()
		VEXTRACTF32X8(U8(1), v[0], y)
		join(y, v[0].AsY(), y)
	} else {
		y = v[0]
		join(v[1], y, y)
	}
	x := XMM()
	VEXTRACTF128(U8(1), y, x)
	join(x, y.AsX(), x)
	t := XMM()
	VPERMILPS(U8(0x0e), x, t) // elements 2 and 3
	join(t, x, x)
	VPERMILPS(U8(0x01), x, t)
	join(t, x, x)
	return x
}

func softmax(w lanes.Width) {
	begin(w, "softmax", "s *float32, n int, most, sum *float32", "is softmax")
	s := number("s")
	// The second source of VMAXPS wins over what is not a number.
	var most []reg.VecVirtual
	for range 16 / int(w) {
		most = append(most, w.ConstF(float32(math.Inf(-1))))
	}
	each(w, "maximum", func(at reg.GPVirtual, i int) {
		v := w.Reg()
		VMOVUPS(elem(w, s, at, i), v)
		VMAXPS(most[i], v, most[i])
	})
	x := fold(w, most, func(a, b, dst Op) { VMAXPS(a, b, dst) })
	VMOVSS(x, Mem{Base: number("most")})
	all := w.Reg()
	VBROADCASTSS(x, all)
	exp := lanes.NewExp(w)
	var sums []reg.VecVirtual
	for range 16 / int(w) {
		sum := w.Reg()
		w.Xor(sum, sum, sum)
		sums = append(sums, sum)
	}
	each(w, "exponentials", func(at reg.GPVirtual, i int) {
		v, e := w.Reg(), w.Reg()
		VMOVUPS(elem(w, s, at, i), v)
		VSUBPS(all, v, v)
		exp.Write(v, e)
		VMOVUPS(e, elem(w, s, at, i))
		VADDPS(e, sums[i], sums[i])
	})
	x = fold(w, sums, func(a, b, dst Op) { VADDPS(a, b, dst) })
	VMOVSS(x, Mem{Base: number("sum")})
	end()
}

// softcap has the constants of canon.Tanh in its order.
func softcap(w lanes.Width) {
	begin(w, "softcap", "s *float32, n int, limit float32", "is softcap")
	s := number("s")
	limit := spread(w, "limit")
	exp := lanes.NewExp(w)
	sign := w.Bits(1 << 31)
	c := func(f float32) Mem { return w.Bits(math.Float32bits(f)) }
	each(w, "next", func(at reg.GPVirtual, i int) {
		x := w.Reg()
		VMOVUPS(elem(w, s, at, i), x)
		VDIVPS(limit, x, x)
		negative := w.Reg()
		w.And(sign, x, negative)
		z := w.Reg()
		w.Xor(negative, x, z)
		// From 0.625 on. What is not a number stays none: the second source wins.
		e := w.Reg()
		VMOVUPS(c(10), e)
		VMINPS(z, e, e)
		VADDPS(e, e, e)
		y := w.Reg()
		exp.Write(e, y)
		VADDPS(exp.One(), y, y)
		two := w.Reg()
		VMOVUPS(c(2), two)
		VDIVPS(y, two, y)
		one := w.Reg()
		VMOVUPS(c(1), one)
		VSUBPS(y, one, y)
		w.Or(negative, y, y)
		// Below.
		q, p := w.Reg(), w.Reg()
		VMULPS(x, x, q)
		VMULPS(c(-5.70498872745e-3), q, p)
		VADDPS(c(2.06390887954e-2), p, p)
		VMULPS(q, p, p)
		VSUBPS(c(5.37397155531e-2), p, p)
		VMULPS(q, p, p)
		VADDPS(c(1.33314422036e-1), p, p)
		VMULPS(q, p, p)
		VSUBPS(c(3.33332819422e-1), p, p)
		VMULPS(q, p, p)
		VMULPS(x, p, p)
		VADDPS(x, p, p)
		const below = 0x11 // ordered, quiet
		if w == lanes.AVX512 {
			k := K()
			VCMPPS(U8(below), c(0.625), z, k)
			VMOVAPS(p, k, y)
		} else {
			VCMPPS(U8(below), c(0.625), z, z)
			VBLENDVPS(z, p, y, y)
		}
		VMULPS(limit, y, y)
		VMOVUPS(y, elem(w, s, at, i))
	})
	end()
}

func bias(w lanes.Width) {
	begin(w, "bias", "s *float32, n int, slope, first float32", "is bias")
	s := number("s")
	slope, first := spread(w, "slope"), spread(w, "first")
	iota16 := GLOBL(w.Name("iota"), attr.RODATA|attr.NOPTR)
	for i := range 16 {
		DATA(4*i, F32(float32(i)))
	}
	var counts []reg.VecVirtual
	for i := range 16 / int(w) {
		v := w.Reg()
		VMOVUPS(iota16.Offset(i*w.Bytes()), v)
		counts = append(counts, v)
	}
	step := w.ConstF(16)
	each(w, "next", func(at reg.GPVirtual, i int) {
		v := w.Reg()
		VADDPS(counts[i], first, v)
		VMULPS(slope, v, v)
		VADDPS(elem(w, s, at, i), v, v)
		VMOVUPS(v, elem(w, s, at, i))
		VADDPS(step, counts[i], counts[i])
	})
	end()
}

func merge(w lanes.Width) {
	begin(w, "merge", "o, p *float32, n int, a, b float32", "is merge")
	o, p := number("o"), number("p")
	a, b := spread(w, "a"), spread(w, "b")
	each(w, "next", func(at reg.GPVirtual, i int) {
		v := w.Reg()
		VMULPS(elem(w, o, at, i), a, v)
		VFMADD231PS(elem(w, p, at, i), b, v)
		VMOVUPS(v, elem(w, o, at, i))
	})
	end()
}

func divide(w lanes.Width) {
	begin(w, "divide", "dst, o *float32, n int, l float32", "is divide")
	dst, o := number("dst"), number("o")
	l := spread(w, "l")
	each(w, "next", func(at reg.GPVirtual, i int) {
		v := w.Reg()
		VMOVUPS(elem(w, o, at, i), v)
		VDIVPS(l, v, v)
		VMOVUPS(v, elem(w, dst, at, i))
	})
	end()
}

func halves(w lanes.Width) {
	begin(w, "halves", "dst *byte, src *float32, n int", "is halves")
	dst, src := number("dst"), number("src")
	each(w, "next", func(at reg.GPVirtual, i int) {
		v := w.Reg()
		VMOVUPS(elem(w, src, at, i), v)
		to := Mem{Base: dst, Disp: i * w.Bytes() / 2}
		if w == lanes.AVX512 {
			VCVTPS2PH(U8(0), v, v.AsY())
			VMOVDQU(v.AsY(), to)
		} else {
			VCVTPS2PH(U8(0), v, v.AsX())
			VMOVDQU(v.AsX(), to)
		}
		if i == 16/int(w)-1 {
			ADDQ(U8(32), dst)
		}
	})
	end()
}
