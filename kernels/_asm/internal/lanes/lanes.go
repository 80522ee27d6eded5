// Package lanes writes float32 arithmetic for vectors of 8 (AVX2) or 16
// (AVX-512) elements, with the operations of kernels/canon in their order.
package lanes

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Width is the number of elements of a vector: 8 or 16.
type Width int

// The widths.
const (
	AVX2   Width = 8
	AVX512 Width = 16
)

// Name returns base with the set's suffix: "addAVX2".
func (w Width) Name(base string) string {
	if w == AVX512 {
		return base + "AVX512"
	}
	return base + "AVX2"
}

// Reg returns a new vector register.
func (w Width) Reg() reg.VecVirtual {
	if w == AVX512 {
		return ZMM()
	}
	return YMM()
}

// Bytes of a vector.
func (w Width) Bytes() int { return 4 * int(w) }

// And sets dst to a AND b.
func (w Width) And(b, a, dst operand.Op) {
	if w == AVX512 {
		VPANDD(b, a, dst)
	} else {
		VPAND(b, a, dst)
	}
}

// Or sets dst to a OR b.
func (w Width) Or(b, a, dst operand.Op) {
	if w == AVX512 {
		VPORD(b, a, dst)
	} else {
		VPOR(b, a, dst)
	}
}

// Xor sets dst to a XOR b.
func (w Width) Xor(b, a, dst operand.Op) {
	if w == AVX512 {
		VPXORD(b, a, dst)
	} else {
		VPXOR(b, a, dst)
	}
}

var constants = map[string]operand.Mem{}

// Bits returns a vector in memory, all of whose elements are u.
func (w Width) Bits(u uint32) operand.Mem {
	name := fmt.Sprintf("all%d_%08x", int(w), u)
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i := range int(w) {
		DATA(4*i, operand.U32(u))
	}
	constants[name] = m
	return m
}

// Const returns a register, all of whose elements are u.
func (w Width) Const(u uint32) reg.VecVirtual {
	r := w.Reg()
	VMOVUPS(w.Bits(u), r)
	return r
}

// ConstF is Const for a number.
func (w Width) ConstF(f float32) reg.VecVirtual { return w.Const(math.Float32bits(f)) }

// Exp is canon.Exp. With AVX2 its constants stay in memory, so that registers
// are left; with AVX-512 they occupy 13 of the 32.
type Exp struct {
	w                                               Width
	log2e, magic, ln2hi, ln2lo, one, high, low, inf operand.Op
	p                                               [6]operand.Op
	bias, expo                                      operand.Op // AVX2: of the integer in magic + n, of an exponent
}

// coefficients of p(r), highest power first, as canon.Exp has them.
var coefficients = [6]float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// NewExp loads the constants.
func NewExp(w Width) *Exp {
	c := func(f float32) operand.Op {
		if w == AVX512 {
			return w.ConstF(f)
		}
		return w.Bits(math.Float32bits(f))
	}
	e := &Exp{
		w:     w,
		log2e: c(1.44269504), magic: c(3 << 22), ln2hi: c(0.693359375), ln2lo: c(-2.12194440e-4),
		one: c(1), high: c(88.72284), low: c(-87.33654), inf: c(float32(math.Inf(1))),
	}
	for i, f := range coefficients {
		e.p[i] = c(f)
	}
	if w == AVX2 {
		e.bias, e.expo = w.Bits(0x4b40_0000), w.Bits(127)
	}
	return e
}

// One returns 1 in every element.
func (e *Exp) One() operand.Op { return e.one }

// Write sets y to the exponentials of x, of which x is left as it was.
func (e *Exp) Write(x, y reg.VecVirtual) {
	w := e.w
	t, n, r := w.Reg(), w.Reg(), w.Reg()
	VMULPS(e.log2e, x, t)
	VADDPS(e.magic, t, t)
	VSUBPS(e.magic, t, n)
	VMULPS(e.ln2hi, n, r)
	VSUBPS(r, x, r)
	low := w.Reg()
	VMULPS(e.ln2lo, n, low)
	VSUBPS(low, r, r)
	p := w.Reg()
	VMULPS(e.p[0], r, p)
	for i := 1; i < 6; i++ {
		VADDPS(e.p[i], p, p)
		if i < 5 {
			VMULPS(r, p, p)
		}
	}
	rr := w.Reg()
	VMULPS(r, r, rr)
	VMULPS(rr, p, p)
	VADDPS(r, p, p)
	VADDPS(e.one, p, p)
	if w == AVX512 {
		// p·2ⁿ rounded once, as the two exact-but-for-the-last steps of canon.
		VSCALEFPS(n, p, y)
		over, under := K(), K()
		VCMPPS(operand.U8(cmpGE), e.high, x, over)
		VCMPPS(operand.U8(cmpLT), e.low, x, under)
		VMOVAPS(e.inf.(reg.VecVirtual), over, y)
		VPXORD(y, y, under, y)
		return
	}
	k, half := w.Reg(), w.Reg()
	VPSUBD(e.bias, t, k)
	VPSRAD(operand.U8(1), k, half)
	VPSUBD(half, k, k)
	VPADDD(e.expo, half, half)
	VPSLLD(operand.U8(23), half, half)
	VPADDD(e.expo, k, k)
	VPSLLD(operand.U8(23), k, k)
	VMULPS(half, p, p)
	VMULPS(k, p, p)
	over := w.Reg()
	VCMPPS(operand.U8(cmpLT), e.low, x, over)
	VANDNPS(p, over, p)
	VCMPPS(operand.U8(cmpGE), e.high, x, over)
	VBLENDVPS(over, e.inf, p, y)
}

// Predicates of VCMPPS: ordered, quiet; false for NaN.
const (
	cmpLT = 0x11
	cmpGE = 0x1d
)
