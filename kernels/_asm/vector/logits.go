package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

func logits() {
	for _, w := range widths {
		clean(w)
		highest(w)
		first(w)
		weights(w)
	}
}

func clean(w lanes.Width) {
	TEXT(w.Name("clean"), attr.NOSPLIT, "func(dst, x *float32, n int)")
	Pragma("noescape")
	Doc(w.Name("clean") + " writes x to dst with −∞ for NaN and the largest number for +∞; n is a multiple of 16 above 0.")
	s := newStream(w, "dst", "x")
	most, least := w.ConstF(math.MaxFloat32), w.ConstF(float32(math.Inf(-1)))
	s.each(func(i int) {
		v := w.Reg()
		VMOVUPS(s.mem(1, i), v)
		VMINPS(v, most, v) // of a NaN, the second source: x
		if w == lanes.AVX512 {
			nan := K()
			VCMPPS(U8(3), v, v, nan)
			VMOVAPS(least, nan, v)
		} else {
			nan := w.Reg()
			VCMPPS(U8(3), v, v, nan)
			VBLENDVPS(nan, least, v, v)
		}
		VMOVUPS(v, s.mem(0, i))
	})
}

func highest(w lanes.Width) {
	TEXT(w.Name("max"), attr.NOSPLIT, "func(x *float32, n int) float32")
	Pragma("noescape")
	Doc(w.Name("max") + " returns the highest of x, −∞ if all are NaN; n is a multiple of 16 above 0.")
	s := newStream(w, "x")
	n := Load(Param("n"), GP64())
	SHLQ(U8(2), n)
	var high []reg.VecVirtual
	for range 16 / int(w) {
		high = append(high, w.ConstF(float32(math.Inf(-1))))
	}
	Label("next")
	for i, h := range high {
		v := w.Reg()
		VMOVUPS(s.mem(0, i), v)
		VMAXPS(h, v, h) // of a NaN, the second source: what was the highest
	}
	ADDQ(U8(64), s.at)
	CMPQ(s.at, n)
	JLT(LabelRef("next"))
	y := YMM()
	if w == lanes.AVX512 {
		VEXTRACTF64X4(U8(1), high[0], y)
		VMAXPS(high[0].AsY(), y, y)
	} else {
		VMAXPS(high[0], high[1], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(U8(1), y, x)
	VMAXPS(y.AsX(), x, x)
	VPERMILPS(U8(0x4e), x, t)
	VMAXPS(x, t, x)
	VPERMILPS(U8(0xb1), x, t)
	VMAXPS(x, t, x)
	VZEROUPPER()
	Store(x, ReturnIndex(0))
	RET()
}

func first(w lanes.Width) {
	TEXT(w.Name("first"), attr.NOSPLIT, "func(x *float32, limit float32, n int) int")
	Pragma("noescape")
	Doc(w.Name("first") + " returns the first index at which x ≥ limit, n if there is none; n is a multiple of 16 above 0.")
	s := newStream(w, "x")
	limit := w.Reg()
	at, err := Param("limit").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(at.Addr, limit)
	n := Load(Param("n"), GP64())
	SHLQ(U8(2), n)
	mask := GP32()
	Label("next")
	if w == lanes.AVX512 {
		k := K()
		VCMPPS(U8(0x12), s.mem(0, 0), limit, k) // limit ≤ x
		KMOVW(k, mask)
	} else {
		a, b, upper := w.Reg(), w.Reg(), GP32()
		VCMPPS(U8(0x12), s.mem(0, 0), limit, a)
		VCMPPS(U8(0x12), s.mem(0, 1), limit, b)
		VMOVMSKPS(a, mask)
		VMOVMSKPS(b, upper)
		SHLL(U8(8), upper)
		ORL(upper, mask)
	}
	TESTL(mask, mask)
	JNZ(LabelRef("found"))
	ADDQ(U8(64), s.at)
	CMPQ(s.at, n)
	JLT(LabelRef("next"))
	SHRQ(U8(2), n)
	VZEROUPPER()
	Store(n, ReturnIndex(0))
	RET()
	Label("found")
	BSFL(mask, mask)
	SHRQ(U8(2), s.at)
	ADDQ(mask.As64(), s.at)
	VZEROUPPER()
	Store(s.at, ReturnIndex(0))
	RET()
}

// doubles are constants of float64.
type doubles struct {
	w    lanes.Width
	seen map[float64]Op
}

// of returns f in every element: in a register with AVX-512, in memory else.
func (d *doubles) of(f float64) Op {
	if op, ok := d.seen[f]; ok {
		return op
	}
	m := GLOBL(doubleName(d.w, f), attr.RODATA|attr.NOPTR)
	for i := range d.w.Bytes() / 8 {
		DATA(8*i, F64(f))
	}
	var op Op = m
	if d.w == lanes.AVX512 {
		r := d.w.Reg()
		VMOVUPD(m, r)
		op = r
	}
	d.seen[f] = op
	return op
}

func doubleName(w lanes.Width, f float64) string {
	return w.Name("f64x") + hex(math.Float64bits(f))
}

func hex(u uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[15-i] = digits[u>>(4*i)&15]
	}
	return string(b[:])
}

// weights writes the exponentials of one block of 256 logits after another,
// with the operations of logits.Exp in their order.
func weights(w lanes.Width) {
	TEXT(w.Name("weights"), attr.NOSPLIT, "func(dst, sums *float64, x *float32, high, scale float64, blocks int)")
	Pragma("noescape")
	Doc(w.Name("weights")+" writes exp((x − high)·scale) for blocks of 256 elements, and for each block the 16 lanes",
		"of their sum; blocks > 0.")
	d := &doubles{w, map[float64]Op{}}
	dst, sums, x := Load(Param("dst"), GP64()), Load(Param("sums"), GP64()), Load(Param("x"), GP64())
	broadcast := func(name string) reg.VecVirtual {
		at, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		r := w.Reg()
		VBROADCASTSD(at.Addr, r)
		return r
	}
	high, scale := broadcast("high"), broadcast("scale")
	blocks := Load(Param("blocks"), GP64())
	even := []Op{d.of(1. / 479001600), d.of(1. / 3628800), d.of(1. / 40320), d.of(1. / 720), d.of(1. / 24), d.of(1. / 2)}
	odd := []Op{d.of(1. / 6227020800), d.of(1. / 39916800), d.of(1. / 362880), d.of(1. / 5040), d.of(1. / 120), d.of(1. / 6), d.of(1)}
	log2e, half, hi, lo := d.of(math.Log2E), d.of(0.5), d.of(6.93147180369123816490e-01), d.of(1.90821492927058770002e-10)
	end := d.of(-708)
	var magic, bias Op
	if w == lanes.AVX2 {
		magic, bias = d.of(3<<51), bits64(w, 1023)
	}
	n := w.Bytes() / 8 // elements of a vector
	sum := make([]reg.VecVirtual, 16/n)
	for i := range sum {
		sum[i] = w.Reg()
	}
	rows := GP64()
	Label("block")
	for _, s := range sum {
		w.Xor(s, s, s)
	}
	MOVQ(U32(16), rows)
	Label("row")
	for i, s := range sum {
		t, k, r, u := w.Reg(), w.Reg(), w.Reg(), w.Reg()
		VCVTPS2PD(Mem{Base: x, Disp: 4 * n * i}, t)
		VSUBPD(high, t, t)
		VMULPD(scale, t, t)
		VMULPD(log2e, t, k)
		VADDPD(half, k, k)
		if w == lanes.AVX512 {
			VRNDSCALEPD(U8(9), k, k) // floor
		} else {
			VROUNDPD(U8(9), k, k)
		}
		VMULPD(hi, k, u)
		VSUBPD(u, t, r)
		VMULPD(lo, k, u)
		VSUBPD(u, r, r)
		z := w.Reg()
		VMULPD(r, r, z)
		e, o := w.Reg(), w.Reg()
		VMULPD(even[0], z, e)
		VMULPD(odd[0], z, o)
		for j := 1; j < 6; j++ {
			VADDPD(even[j], e, e)
			VMULPD(z, e, e)
			VADDPD(odd[j], o, o)
			VMULPD(z, o, o)
		}
		VADDPD(odd[6], o, o)
		VMULPD(r, o, o)
		VADDPD(o, e, e)
		VADDPD(d.of(1), e, e)
		if w == lanes.AVX512 {
			VSCALEFPD(k, e, e)
			low := K()
			VCMPPD(U8(0x19), end, t, low) // not t ≥ −708
			VPXORQ(e, e, low, e)
		} else {
			VADDPD(magic, k, k)
			VPADDQ(bias, k, k)
			VPSLLQ(U8(52), k, k)
			VMULPD(k, e, e)
			fine := w.Reg()
			VCMPPD(U8(0x1d), end, t, fine)
			VANDPD(fine, e, e)
		}
		VMOVUPD(e, Mem{Base: dst, Disp: w.Bytes() * i})
		VADDPD(e, s, s)
	}
	ADDQ(U8(64), x)
	SUBQ(I8(-128), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	for i, s := range sum {
		VMOVUPD(s, Mem{Base: sums, Disp: w.Bytes() * i})
	}
	SUBQ(I8(-128), sums)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// bits64 is u in every 64-bit element, in memory.
func bits64(w lanes.Width, u uint64) Mem {
	m := GLOBL(w.Name("u64x")+hex(u), attr.RODATA|attr.NOPTR)
	for i := range w.Bytes() / 8 {
		DATA(8*i, U64(u))
	}
	return m
}
