// Command bench writes the loops that find a machine's ceilings: reading from
// memory and multiplying integers. See internal/bench/ceiling.
package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!purego")
	readOne("readOne", 0, "")
	readOne("readAhead", 4096, " and asks for what comes 4 KiB later")
	readFour()
	multiply("multiply512", reg.Z31, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11})
	Generate()
}

// readOne sums one stream, with or without asking for what comes later. 16
// bytes a load: memory is slower than that by far, and every processor can.
func readOne(name string, ahead int, how string) {
	TEXT(name, attr.NOSPLIT, "func(p *byte, n int) uint64")
	Pragma("noescape")
	Doc(name + " sums n bytes, a multiple of 256 above 0, as 64-bit integers, from one place on" + how + ". p is aligned to 16 bytes.")
	p, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	s := sums()
	Label("more")
	for line := 0; line < 256; line += 64 {
		if ahead > 0 {
			PREFETCHT0(Mem{Base: p, Disp: ahead + line})
		}
		for i := range s {
			PADDQ(Mem{Base: p, Disp: line + 16*i}, s[i])
		}
	}
	ADDQ(U32(256), p)
	SUBQ(U32(256), n)
	JNZ(LabelRef("more"))
	total(s)
}

// readFour sums four streams, so that more pages of memory are open at once.
func readFour() {
	TEXT("readFour", attr.NOSPLIT, "func(p *byte, n int) uint64")
	Pragma("noescape")
	Doc("readFour sums n bytes, a multiple of 256 above 0, as 64-bit integers, from four places at once. p is aligned to 16 bytes.")
	a, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	SHRQ(U8(2), n)
	quarter, b := GP64(), GP64()
	MOVQ(n, quarter)
	LEAQ(Mem{Base: a, Index: quarter, Scale: 2}, b)
	s := sums()
	Label("more")
	for i := range 4 {
		d := 16 * i
		PADDQ(Mem{Base: a, Disp: d}, s[0])
		PADDQ(Mem{Base: a, Index: quarter, Scale: 1, Disp: d}, s[1])
		PADDQ(Mem{Base: b, Disp: d}, s[2])
		PADDQ(Mem{Base: b, Index: quarter, Scale: 1, Disp: d}, s[3])
	}
	ADDQ(U8(64), a)
	ADDQ(U8(64), b)
	SUBQ(U8(64), n)
	JNZ(LabelRef("more"))
	total(s)
}

func sums() []reg.VecVirtual {
	s := make([]reg.VecVirtual, 4)
	for i := range s {
		s[i] = XMM()
		PXOR(s[i], s[i])
	}
	return s
}

func total(s []reg.VecVirtual) {
	PADDQ(s[1], s[0])
	PADDQ(s[3], s[2])
	PADDQ(s[2], s[0])
	high, low := XMM(), GP64()
	MOVO(s[0], high)
	PSRLDQ(U8(8), high)
	PADDQ(high, s[0])
	MOVQ(s[0], low)
	Store(low, ReturnIndex(0))
	RET()
}

// multiply writes chains of the dot product of bytes, as many as it takes to
// hide its latency.
func multiply(name string, x reg.VecPhysical, chains []reg.VecPhysical) {
	TEXT(name, attr.NOSPLIT, "func(n int)")
	Doc(name + " executes VPDPBUSD 12·n times, n > 0, in twelve chains.")
	n := Load(Param("n"), GP64())
	VPXORD(x, x, x)
	for _, c := range chains {
		VPXORD(c, c, c)
	}
	Label("more")
	for _, c := range chains {
		Instruction(&ir.Instruction{ // which avo has no function for
			Opcode: "VPDPBUSD", Operands: []Op{x, x, c}, Inputs: []Op{x, x, c}, Outputs: []Op{c}, ISA: []string{"AVX512VNNI"},
		})
	}
	DECQ(n)
	JNZ(LabelRef("more"))
	VZEROUPPER()
	RET()
}
