package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func norm() {
	for _, w := range widths {
		TEXT(w.Name("squares"), attr.NOSPLIT, "func(sums *[16]float32, x *float32, n int)")
		Pragma("noescape")
		Doc(w.Name("squares") + " writes the 16 lanes of the sum of squares of x; n is a multiple of 16 above 0.")
		s := newStream(w, "sums", "x")
		var acc []reg.VecVirtual
		for range 16 / int(w) {
			acc = append(acc, w.Reg())
		}
		for _, a := range acc {
			w.Xor(a, a, a)
		}
		n := Load(Param("n"), GP64())
		SHLQ(U8(2), n)
		Label("next")
		for i, a := range acc {
			v := w.Reg()
			VMOVUPS(s.mem(1, i), v)
			VMULPS(v, v, v)
			VADDPS(v, a, a)
		}
		ADDQ(U8(64), s.at)
		CMPQ(s.at, n)
		JLT(LabelRef("next"))
		for i, a := range acc {
			VMOVUPS(a, Mem{Base: s.base[0], Disp: i * w.Bytes()})
		}
		VZEROUPPER()
		RET()

		TEXT(w.Name("scale"), attr.NOSPLIT, "func(dst, x, weight *float32, scale float32, n int)")
		Pragma("noescape")
		Doc(w.Name("scale") + " writes x·scale·weight to dst; n is a multiple of 16 above 0.")
		s = newStream(w, "dst", "x", "weight")
		scale := w.Reg()
		at, err := Param("scale").Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSS(at.Addr, scale)
		s.each(func(i int) {
			v := w.Reg()
			VMULPS(s.mem(1, i), scale, v)
			VMULPS(s.mem(2, i), v, v)
			VMOVUPS(v, s.mem(0, i))
		})
	}
}
